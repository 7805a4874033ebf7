package master

import (
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"howdah.dev/howdah/internal/cell/mesos"
	"howdah.dev/howdah/internal/cell/workerapi"
)

// running is a cell with one task that runs and is acknowledged.
func running(e *env, info mesos.FrameworkInfo) (*scheduler, *agent) {
	e.t.Helper()
	s := e.register(info)
	a := e.worker("w1", small)
	offer := s.offer()
	s.launch(offer, todo(e.t, "one", "cpus:4;mem:1024;ports:[31000-31001]", offer))
	s.ack(s.status())
	s.quiet()
	return s, a
}

func (e *env) reconcile(s *scheduler, tasks ...mesos.ReconcileTask) {
	e.t.Helper()
	s.call(mesos.Call{Type: mesos.CallReconcile, Reconcile: &mesos.Reconcile{Tasks: tasks}})
}

func TestWorkerUnreachableAndBack(t *testing.T) {
	bubble(t, func(e *env) {
		s, a := running(e, named("f"))
		a.hangUp()
		time.Sleep(50 * time.Second)
		s.quiet()
		time.Sleep(30 * time.Second)
		lost := s.status()
		wantState(t, lost, "one", mesos.TaskUnreachable, mesos.ReasonSlaveRemoved, "Agent w1 is unreachable: health check timed out")
		if lost.UUID != nil || lost.Source != mesos.SourceMaster || lost.UnreachableTime == nil {
			t.Fatalf("%+v", lost)
		}
		if got := s.next(mesos.EventFailure).Failure.AgentID; *got != *a.info.ID {
			t.Fatal(got)
		}
		e.reconcile(s)
		wantState(t, s.status(), "one", mesos.TaskUnreachable, mesos.ReasonReconciliation, "Reconciliation: Latest task state")
		a.dial()
		back := s.status()
		wantState(t, back, "one", mesos.TaskRunning, mesos.ReasonSlaveReregistered, "Unreachable agent reregistered")
		if back.UUID != nil {
			t.Error("there is nobody who would take the acknowledgement")
		}
		s.quiet()
		if e.metric("master/cpus_used") != 4 {
			t.Error("the task uses nothing")
		}
	})
}

func TestSilentWorkerIsUnreachable(t *testing.T) {
	bubble(t, func(e *env) {
		s, a := running(e, named("f"))
		time.Sleep(10 * time.Minute)
		s.quiet()
		a.set(func() { a.dead = true }) // its stream stays open
		time.Sleep(100 * time.Second)
		wantState(t, s.status(), "one", mesos.TaskUnreachable, mesos.ReasonSlaveRemoved, "Agent w1 is unreachable: health check timed out")
		if got := a.say(a.session, workerapi.Call{Type: workerapi.CallPong}); got != 404 {
			t.Errorf("an unreachable worker's call: %d", got)
		}
	})
}

func TestLostOfOldFrameworkIsKilled(t *testing.T) {
	bubble(t, func(e *env) {
		info := named("old")
		info.Capabilities = nil
		s, a := running(e, info)
		a.hangUp()
		time.Sleep(80 * time.Second)
		wantState(t, s.status(), "one", mesos.TaskLost, mesos.ReasonSlaveRemoved, "Agent w1 is unreachable: health check timed out")
		s.next(mesos.EventFailure)
		a.dial()
		killed := s.status()
		wantState(t, killed, "one", mesos.TaskKilled, "", "")
		s.offer()
		s.ack(killed)
		s.quiet()
		if a.has() != 0 || !strings.Contains(a.did(), "KILL one") {
			t.Error(a.did())
		}
	})
}

func TestKillForWorkerThatIsAway(t *testing.T) {
	bubble(t, func(e *env) {
		s, a := running(e, named("f"))
		a.hangUp()
		synctest.Wait()
		s.kill("one")
		s.quiet()
		a.dial()
		wantState(t, s.status(), "one", mesos.TaskKilled, "", "")
	})
}

func TestWorkerComesBackWithoutTask(t *testing.T) {
	bubble(t, func(e *env) {
		s, a := running(e, named("f"))
		a.hangUp()
		synctest.Wait()
		a.set(func() { a.tasks = map[string]*workerapi.Task{} })
		a.dial()
		wantState(t, s.status(), "one", mesos.TaskGone, mesos.ReasonReconciliation, "The worker came back without the task")
		offer := s.offer()

		a.set(func() { a.dead = true }) // the launch is lost on its way
		s.launch(offer, todo(t, "two", "cpus:4;mem:1024", offer))
		s.quiet()
		a.hangUp()
		synctest.Wait()
		a.set(func() { a.dead = false })
		a.dial()
		wantState(t, s.status(), "two", mesos.TaskDropped, mesos.ReasonReconciliation, "The worker came back without the task: its launch was lost")
	})
}

func TestNewSessionFencesOld(t *testing.T) {
	bubble(t, func(e *env) {
		s, a := running(e, named("f"))
		old := a.session
		a.dial()
		synctest.Wait()
		if got := a.did(); !strings.Contains(got, workerapi.OrderFenced) {
			t.Errorf("orders: %s", got)
		}
		if got := a.say(old, workerapi.Call{Type: workerapi.CallPong}); got != 409 {
			t.Errorf("a call of the old session: %d", got)
		}
		if got := a.say(a.session, workerapi.Call{Type: workerapi.CallPong}); got != 202 {
			t.Errorf("a call of the new session: %d", got)
		}
		time.Sleep(10 * time.Minute)
		s.quiet()
	})
}

func TestOffersOfLostWorkerAreRescinded(t *testing.T) {
	bubble(t, func(e *env) {
		s := e.register(named("f"))
		a := e.worker("w1", small)
		offer := s.offer()
		a.hangUp()
		if got := s.next(mesos.EventRescind).Rescind.OfferID; got != offer.ID {
			t.Fatal(got)
		}
		s.launch(offer, todo(t, "one", "cpus:1", offer))
		dropped := s.status()
		wantState(t, dropped, "one", mesos.TaskDropped, mesos.ReasonInvalidOffers,
			"Task launched with invalid offers: Offer "+offer.ID.Value+" is no longer valid")
		a.dial()
		s.offer()
		a.info.Resources = mesos.Resources{mesos.NewScalar("cpus", 1)}
		a.say(a.session, workerapi.Call{Type: workerapi.CallInfo, Info: &a.info})
		s.next(mesos.EventRescind)
		if got := mesos.Resources(s.offer().Resources).String(); got != "cpus:1" {
			t.Fatal(got)
		}
	})
}

func TestFrameworkFailsOver(t *testing.T) {
	bubble(t, func(e *env) {
		s, a := running(e, named("f"))
		info := named("f")
		info.ID = &mesos.ID{Value: s.id}
		second := e.subscribe(mesos.Subscribe{FrameworkInfo: info})
		if got := s.next(mesos.EventError).Error.Message; got != "Framework failed over" {
			t.Fatal(got)
		}
		s.over()
		if got := second.next(mesos.EventSubscribed).Subscribed.FrameworkID.Value; got != s.id {
			t.Fatal(got)
		}
		if err := s.stream.Call(e.t.Context(), mesos.Call{Type: mesos.CallRevive}); err == nil || !strings.Contains(err.Error(), "didn't match the stream ID") {
			t.Error(err)
		}
		second.stream.Close()
		synctest.Wait()
		a.end("one", mesos.TaskFinished)
		time.Sleep(59 * time.Minute)
		third := e.register(info)
		// What it has not acknowledged is told at once, not when the worker repeats it.
		wantState(t, third.status(), "one", mesos.TaskFinished, "", "")
		third.stream.Close()
		time.Sleep(61 * time.Minute)
		fourth := e.subscribe(mesos.Subscribe{FrameworkInfo: info})
		if got := fourth.next(mesos.EventError).Error.Message; got != "Framework has been removed" {
			t.Fatal(got)
		}
		fourth.over()
	})
}

func TestTeardown(t *testing.T) {
	bubble(t, func(e *env) {
		s, a := running(e, named("f"))
		other := e.register(named("other"))
		a.set(func() { a.slow = true }) // the task takes its time to end
		s.call(mesos.Call{Type: mesos.CallTeardown})
		s.over()
		other.quiet()
		if !strings.Contains(a.did(), workerapi.OrderShutdown) {
			t.Fatal(a.did())
		}
		a.end("one", mesos.TaskKilled)
		if got := mesos.Resources(other.offer().Resources).Scalar("cpus"); got != 4 {
			t.Fatal(got)
		}
		synctest.Wait()
		if a.has() != 0 {
			t.Errorf("the worker waits for acknowledgements of a framework that is gone: %v", a.tasks)
		}
		var state struct {
			Completed []struct {
				ID    string
				Tasks []taskObject `json:"completed_tasks"`
			} `json:"completed_frameworks"`
		}
		e.get("/state", &state)
		if len(state.Completed) != 1 || state.Completed[0].ID != s.id || state.Completed[0].Tasks[0].State != mesos.TaskKilled {
			t.Errorf("%+v", state)
		}
	})
}

func TestFailoverTakesOffersBack(t *testing.T) {
	bubble(t, func(e *env) {
		s := e.register(named("f"))
		e.worker("w1", small)
		old := s.offer()
		info := named("f")
		info.ID = &mesos.ID{Value: s.id}
		s = e.register(info)
		if fresh := s.offer(); fresh.ID == old.ID {
			t.Error("the offer is the old one")
		}
	})
}

func TestWorkerBackWithTaskOfRemovedFramework(t *testing.T) {
	bubble(t, func(e *env) {
		s, a := running(e, named("f"))
		a.hangUp()
		synctest.Wait()
		s.call(mesos.Call{Type: mesos.CallTeardown})
		s.over()
		a.dial()
		synctest.Wait()
		if a.has() != 0 || !strings.Contains(a.did(), workerapi.OrderShutdown) {
			t.Error(a.did())
		}
	})
}

func TestTaskComesWithAnotherWorker(t *testing.T) {
	bubble(t, func(e *env) {
		s, a := running(e, named("f"))
		a.hangUp()
		synctest.Wait()
		old := *a.info.ID
		a.info.ID = nil // the worker lost its id, not its tasks
		a.dial()
		e.reconcile(s)
		status := s.status()
		wantState(t, status, "one", mesos.TaskRunning, mesos.ReasonReconciliation, "Reconciliation: Latest task state")
		if *status.AgentID != *a.info.ID || *status.AgentID == old {
			t.Error("the task is said to be on the old worker")
		}
		time.Sleep(2 * time.Minute) // the old one becomes unreachable and takes no task along
		s.next(mesos.EventFailure)
		s.quiet()
	})
}

func TestNoFailoverTimeMeansRemoved(t *testing.T) {
	bubble(t, func(e *env) {
		info := named("f")
		info.FailoverTimeout = 0
		s, a := running(e, info)
		s.stream.Close()
		synctest.Wait()
		if a.has() != 0 {
			t.Error("its task runs on")
		}
	})
}

func TestMasterRestarts(t *testing.T) {
	bubble(t, func(e *env) {
		s, a := running(e, named("f"))
		second := e.worker("w2", small)
		s.offer()
		id := e.m.ID()
		a.hangUp()
		second.hangUp()
		e.start()
		for range s.events { // whatever was told; the stream ends
		}
		if e.m.ID() != id {
			t.Error("the master has another id")
		}
		info := named("f")
		info.ID = &mesos.ID{Value: s.id}
		time.Sleep(time.Minute)
		s = e.register(info)
		// Nobody knows the task until its worker is back.
		e.reconcile(s, mesos.ReconcileTask{TaskID: mesos.ID{Value: "one"}, AgentID: a.info.ID})
		e.reconcile(s, mesos.ReconcileTask{TaskID: mesos.ID{Value: "one"}})
		s.quiet()
		a.end("one", mesos.TaskFailed) // cannot be told yet
		a.dial()
		wantState(t, s.status(), "one", mesos.TaskFailed, "", "")
		s.offer()
		time.Sleep(9*time.Minute + time.Second)
		if got := *s.next(mesos.EventFailure).Failure.AgentID; got != *second.info.ID {
			t.Fatal(got)
		}
		e.reconcile(s, mesos.ReconcileTask{TaskID: mesos.ID{Value: "two"}, AgentID: second.info.ID})
		wantState(t, s.status(), "two", mesos.TaskUnreachable, mesos.ReasonReconciliation, "Reconciliation: Task is unreachable")
		s.call(mesos.Call{Type: mesos.CallTeardown})
		e.start()
		gone := e.subscribe(mesos.Subscribe{FrameworkInfo: info})
		if got := gone.next(mesos.EventError).Error.Message; got != "Framework has been removed" {
			t.Error(got)
		}
		if got := e.metric("master/slaves_unreachable"); got != 1 {
			t.Errorf("%v workers are unreachable after the second start", got)
		}
		fresh := e.worker("w3", small)
		if fresh.info.ID.Value == a.info.ID.Value || fresh.info.ID.Value == second.info.ID.Value {
			t.Error("an id of a worker was given twice")
		}
		if other := e.register(named("g")); other.id == s.id {
			t.Error("an id of a framework was given twice")
		}
	})
}

func TestOffersOfEarlierStartAreOthers(t *testing.T) {
	bubble(t, func(e *env) {
		s, a := e.register(named("f")), e.worker("w1", small)
		old := s.offer()
		a.hangUp()
		e.start()
		info := named("f")
		info.ID = &mesos.ID{Value: s.id}
		s = e.register(info)
		a.dial()
		fresh := s.offer()
		if fresh.ID == old.ID {
			t.Fatal("an id of an offer was given twice")
		}
		s.launch(old, todo(t, "one", "cpus:1", old))
		wantState(t, s.status(), "one", mesos.TaskDropped, mesos.ReasonInvalidOffers,
			"Task launched with invalid offers: Offer "+old.ID.Value+" is no longer valid")
	})
}

func TestMasterThatLostItsFile(t *testing.T) {
	bubble(t, func(e *env) {
		s, a := running(e, named("f"))
		a.hangUp()
		e.stop()
		if err := os.Remove(stateFile(e.cfg.Dir)); err != nil {
			t.Fatal(err)
		}
		e.start()
		was := *a.info.ID
		a.dial()
		if *a.info.ID != was {
			t.Error("the worker has another id")
		}
		info := named("f")
		info.ID = &mesos.ID{Value: s.id}
		s = e.register(info)
		e.reconcile(s)
		wantState(t, s.status(), "one", mesos.TaskRunning, mesos.ReasonReconciliation, "Reconciliation: Latest task state")
	})
}

func TestUnreadableFile(t *testing.T) {
	for text, want := range map[string]string{
		"{":             "cannot read the master's state in DIR/master.json: unexpected end of JSON input",
		`{"format": 9}`: "cannot read the master's state in DIR/master.json: its format is 9, this howdah knows 1",
	} {
		cfg := config(t.TempDir())
		if err := os.WriteFile(stateFile(cfg.Dir), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := New(cfg)
		if err == nil || strings.ReplaceAll(err.Error(), cfg.Dir, "DIR") != want {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestReconcile(t *testing.T) {
	bubble(t, func(e *env) {
		s, a := running(e, named("f"))
		e.reconcile(s, mesos.ReconcileTask{TaskID: mesos.ID{Value: "one"}}, mesos.ReconcileTask{TaskID: mesos.ID{Value: "two"}},
			mesos.ReconcileTask{TaskID: mesos.ID{Value: "three"}, AgentID: a.info.ID},
			mesos.ReconcileTask{TaskID: mesos.ID{Value: "four"}, AgentID: &mesos.ID{Value: "nobody"}})
		wantState(t, s.status(), "one", mesos.TaskRunning, mesos.ReasonReconciliation, "Reconciliation: Latest task state")
		wantState(t, s.status(), "two", mesos.TaskUnknown, mesos.ReasonReconciliation, "Reconciliation: Task is unknown")
		wantState(t, s.status(), "three", mesos.TaskGone, mesos.ReasonReconciliation, "Reconciliation: Task is unknown to the agent")
		wantState(t, s.status(), "four", mesos.TaskUnknown, mesos.ReasonReconciliation, "Reconciliation: Task is unknown")
		s.kill("five")
		wantState(t, s.status(), "five", mesos.TaskUnknown, mesos.ReasonReconciliation, "Reconciliation: Task is unknown")

		info := named("old")
		info.Capabilities = nil
		old := e.register(info)
		e.reconcile(old, mesos.ReconcileTask{TaskID: mesos.ID{Value: "two"}})
		wantState(t, old.status(), "two", mesos.TaskLost, mesos.ReasonReconciliation, "Reconciliation: Task is unknown")
	})
}

// TestReconcileKeepsWhy: an answer about a task that has ended says why, though the
// worker's own word is still on its way.
func TestReconcileKeepsWhy(t *testing.T) {
	bubble(t, func(e *env) {
		s, a := running(e, named("f"))
		a.set(func() { a.why = "Command exited with status 7" })
		a.end("one", mesos.TaskFailed)
		wantState(t, s.status(), "one", mesos.TaskFailed, "", "Command exited with status 7") // not acknowledged
		e.reconcile(s)
		wantState(t, s.status(), "one", mesos.TaskFailed, mesos.ReasonReconciliation, "Command exited with status 7")
	})
}

// TestKillAnnounced: a worker is told to say TASK_KILLING to those that know it.
func TestKillAnnounced(t *testing.T) {
	for _, info := range []mesos.FrameworkInfo{named("knows", mesos.CapTaskKillingState), named("knows not")} {
		bubble(t, func(e *env) {
			s, a := running(e, info)
			s.kill("one")
			wantState(t, s.status(), "one", mesos.TaskKilled, "", "")
			if got, want := strings.Contains(a.did(), "KILL one announced"), info.Name == "knows"; got != want {
				t.Errorf("%s: %s", info.Name, a.did())
			}
		})
	}
}

func TestHeartbeats(t *testing.T) {
	bubble(t, func(e *env) {
		stream, err := e.client("sched").Subscribe(e.t.Context(), mesos.Subscribe{FrameworkInfo: named("f")})
		if err != nil {
			t.Fatal(err)
		}
		defer stream.Close()
		start := time.Now()
		for i, want := range []string{mesos.EventSubscribed, mesos.EventHeartbeat, mesos.EventHeartbeat, mesos.EventHeartbeat} {
			event, err := stream.Next()
			if err != nil || event.Type != want {
				t.Fatalf("%d: %v %v", i, event, err)
			}
		}
		if took := time.Since(start); took < 30*time.Second || took > 33*time.Second {
			t.Errorf("two heartbeats took %s", took)
		}
	})
}
