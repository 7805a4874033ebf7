package master

import (
	"testing"
	"testing/synctest"
	"time"

	"howdah.dev/howdah/internal/cell/mesos"
)

const small = "cpus:4;mem:1024;disk:1000;ports:[31000-31009]"

func TestTaskFromOfferToEnd(t *testing.T) {
	bubble(t, func(e *env) {
		s := e.register(named("f"))
		s.quiet()
		a := e.worker("w1", small)
		offer := s.offer()
		if offer.Hostname != "w1" || offer.AgentID != *a.info.ID || offer.AllocationInfo != nil || offer.URL.Address.Port != 5051 {
			t.Fatalf("%+v", offer)
		}
		if got := mesos.Resources(offer.Resources).String(); got != "cpus:4; mem:1024; disk:1000; ports:[31000-31009]" {
			t.Fatal(got)
		}
		s.launch(offer, todo(t, "one", "cpus:1;mem:100;ports:[31003]", offer), todo(t, "two", "cpus:2.5;mem:1", offer))
		rest := s.next(mesos.EventOffers).Offers.Offers[0]
		if got := mesos.Resources(rest.Resources).String(); got != "cpus:0.5; mem:923; disk:1000; ports:[31000-31002, 31004-31009]" {
			t.Fatal(got)
		}
		running := s.status()
		wantState(t, running, "one", mesos.TaskRunning, "", "")
		s.ack(running)
		s.ack(s.status())
		s.quiet()
		if got := a.did(); got != "[LAUNCH one LAUNCH two ACKNOWLEDGE one ACKNOWLEDGE two]" {
			t.Fatal(got)
		}
		s.kill("one")
		killed := s.status()
		wantState(t, killed, "one", mesos.TaskKilled, "", "")
		s.next(mesos.EventOffers) // what it used is free before its end is acknowledged
		s.ack(killed)
		a.end("two", mesos.TaskFinished)
		finished := s.status()
		wantState(t, finished, "two", mesos.TaskFinished, "", "")
		if e.metric("master/tasks_finished") != 1 || e.metric("master/tasks_killed") != 1 || e.metric("master/cpus_used") != 0 {
			t.Error("metrics")
		}
		s.ack(finished)
		synctest.Wait()
		var state struct {
			Frameworks []struct {
				Tasks, CompletedTasks []taskObject
			}
		}
		e.get("/master/state.json", &state)
		if len(state.Frameworks) != 1 || len(state.Frameworks[0].Tasks) != 0 {
			t.Errorf("%+v", state)
		}
	})
}

func TestStatusesWaitForAcknowledgement(t *testing.T) {
	bubble(t, func(e *env) {
		a := e.worker("w1", small)
		s := e.register(named("f"))
		offer := s.offer()
		s.launch(offer, todo(t, "one", "cpus:4;mem:1024", offer))
		running := s.status()
		a.end("one", mesos.TaskFailed)
		again := s.status()
		if again.State != mesos.TaskRunning || string(again.UUID) != string(running.UUID) {
			t.Fatalf("%+v", again)
		}
		// The task has ended, so what it used is free, though its framework knows
		// nothing yet.
		s.offer()
		s.ack(running)
		failed := s.status()
		wantState(t, failed, "one", mesos.TaskFailed, "", "")
		s.ack(failed)
		s.quiet()
		if a.has() != 0 {
			t.Error("the worker still has the task")
		}
	})
}

func TestDeclineFilters(t *testing.T) {
	bubble(t, func(e *env) {
		e.worker("w1", small)
		s := e.register(named("f"))
		for _, c := range []struct {
			filters *mesos.Filters
			wait    time.Duration
		}{{nil, 5 * time.Second}, {filters(30), 30 * time.Second}, {filters(-1), 5 * time.Second}, {filters(0), 0}} {
			offer := s.offer()
			start := time.Now()
			s.call(mesos.Call{Type: mesos.CallDecline, Decline: &mesos.Decline{OfferIDs: []mesos.ID{offer.ID, {Value: "gone"}}, Filters: c.filters}})
			if c.wait > 0 {
				time.Sleep(c.wait - time.Millisecond - time.Since(start))
				s.quiet()
			}
			time.Sleep(2 * time.Second)
			if len(s.events) != 1 {
				t.Fatalf("declined for %v: %d events after it", c.wait, len(s.events))
			}
		}
		offer := s.offer()
		s.call(mesos.Call{Type: mesos.CallDecline, Decline: &mesos.Decline{OfferIDs: []mesos.ID{offer.ID}, Filters: filters(1e300)}})
		time.Sleep(time.Hour)
		s.quiet()
		s.call(mesos.Call{Type: mesos.CallRevive})
		s.offer()
	})
}

func TestRestOfAcceptedOfferIsRefused(t *testing.T) {
	bubble(t, func(e *env) {
		e.worker("w1", small)
		s := e.register(named("f"))
		offer := s.offer()
		s.call(mesos.Call{Type: mesos.CallAccept, Accept: &mesos.Accept{
			OfferIDs: []mesos.ID{offer.ID}, Operations: []mesos.Operation{{
				Type: mesos.OperationLaunch, Launch: &mesos.Launch{TaskInfos: []mesos.TaskInfo{todo(t, "one", "cpus:1", offer)}},
			}},
		}})
		s.ack(s.status())
		time.Sleep(4900 * time.Millisecond)
		s.quiet()
		time.Sleep(2 * time.Second)
		s.offer()
	})
}

func TestMoreThanWasRefusedIsOffered(t *testing.T) {
	bubble(t, func(e *env) {
		e.worker("w1", small)
		s := e.register(named("f"))
		offer := s.offer()
		s.launch(offer, todo(t, "one", "cpus:1;mem:100", offer))
		offer = s.offer()
		s.ack(s.status())
		s.call(mesos.Call{Type: mesos.CallDecline, Decline: &mesos.Decline{OfferIDs: []mesos.ID{offer.ID}, Filters: filters(3600)}})
		s.quiet()
		s.kill("one")
		if got := mesos.Resources(s.offer().Resources).Scalar("cpus"); got != 4 {
			t.Errorf("%v cpus", got)
		}
	})
}

func TestSuppressAndRevive(t *testing.T) {
	bubble(t, func(e *env) {
		info := named("f", mesos.CapMultiRole, mesos.CapReservationRefinement)
		info.Roles = []string{"*", "web"}
		s := e.subscribe(mesos.Subscribe{FrameworkInfo: info, SuppressedRoles: []string{"web"}})
		s.next(mesos.EventSubscribed)
		e.worker("w1", "cpus:4;mem:1024;cpus(web):2;mem(web):512;cpus(other):9")
		offer := s.offer()
		if got := mesos.Resources(offer.Resources).String(); got != "cpus:4; mem:1024" || offer.AllocationInfo.Role != "*" {
			t.Fatal(got)
		}
		s.quiet()
		s.call(mesos.Call{Type: mesos.CallRevive, Revive: &mesos.Roles{Roles: []string{"web"}}})
		offer = s.offer()
		if got := mesos.Resources(offer.Resources).String(); got != "cpus(web):2; mem(web):512" || offer.AllocationInfo.Role != "web" {
			t.Fatal(got)
		}
		if r := offer.Resources[0]; len(r.Reservations) != 1 || r.Role != "" || r.AllocatedTo() != "web" {
			t.Fatalf("%+v", r)
		}
		s.call(mesos.Call{Type: mesos.CallSuppress})
		s.call(mesos.Call{Type: mesos.CallDecline, Decline: &mesos.Decline{OfferIDs: []mesos.ID{offer.ID}, Filters: filters(0)}})
		time.Sleep(time.Minute)
		s.quiet()
	})
}

func TestFrameworksTakeTurns(t *testing.T) {
	bubble(t, func(e *env) {
		both := []*scheduler{e.register(named("a")), e.register(named("b"))}
		for i := range 10 {
			e.worker("w"+string(rune('0'+i)), small)
			synctest.Wait()
		}
		seen := map[string]bool{}
		for _, s := range both {
			synctest.Wait()
			if len(s.events) != 5 {
				t.Errorf("%s got %d offers of 10", s.id, len(s.events))
			}
			for range len(s.events) {
				agent := s.offer().AgentID.Value
				if seen[agent] {
					t.Error("a worker was offered to both")
				}
				seen[agent] = true
			}
		}
	})
}

func TestReservedGoToTheirRole(t *testing.T) {
	bubble(t, func(e *env) {
		plain := e.register(named("a"))
		info := named("b")
		info.Role = "web"
		web := e.register(info)
		e.worker("w1", "cpus:1;mem:64;cpus(web):2;mem(web):64;ports(web):[80,443]")
		offer := web.offer()
		if got := mesos.Resources(offer.Resources).String(); got != "cpus:1; mem:64; cpus(web):2; mem(web):64; ports(web):[80-80, 443-443]" {
			t.Fatal(got)
		}
		if offer.Resources[0].Role != "*" || offer.Resources[2].Role != "web" {
			t.Fatalf("%+v", offer.Resources)
		}
		plain.quiet()
		task := todo(t, "one", "cpus(web):1;ports(web):[80]", offer)
		web.launch(offer, task)
		if got := mesos.Resources(web.offer().Resources).String(); got != "cpus:1; mem:64; cpus(web):1; mem(web):64; ports(web):[443-443]" {
			t.Fatal(got)
		}
	})
}
