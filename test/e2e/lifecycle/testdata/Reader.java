package example;

import java.io.IOException;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.Path;
import org.apache.hadoop.io.LongWritable;
import org.apache.hadoop.io.NullWritable;
import org.apache.hadoop.io.Text;
import org.apache.hadoop.mapreduce.Job;
import org.apache.hadoop.mapreduce.Mapper;
import org.apache.hadoop.mapreduce.lib.input.FileInputFormat;
import org.apache.hadoop.mapreduce.lib.output.NullOutputFormat;

/** A job of a user's own: its mapper prints each line it reads, then goes on until it is killed. */
public final class Reader {
    private Reader() {}

    /** Reads and never ends. */
    public static class Endless extends Mapper<LongWritable, Text, NullWritable, NullWritable> {
        @Override
        protected void map(LongWritable key, Text line, Context context) {
            System.out.println("the mapper read: " + line);
        }

        @Override
        protected void cleanup(Context context) throws InterruptedException {
            while (true) {
                context.progress();
                Thread.sleep(200);
            }
        }
    }

    /** The argument is the file to read. */
    public static void main(String[] args) throws IOException, InterruptedException, ClassNotFoundException {
        Job job = Job.getInstance(new Configuration(), "endless reader");
        job.setJarByClass(Reader.class);
        job.setMapperClass(Endless.class);
        job.setNumReduceTasks(0);
        job.setOutputKeyClass(NullWritable.class);
        job.setOutputValueClass(NullWritable.class);
        job.setOutputFormatClass(NullOutputFormat.class);
        FileInputFormat.addInputPath(job, new Path(args[0]));
        System.exit(job.waitForCompletion(true) ? 0 : 1);
    }
}
