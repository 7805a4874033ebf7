// Writes text.tsv: bytes in hexadecimal, tab, what Hadoop's Text makes of them
// (Text.toString, then Text.set), in hexadecimal. Every string over an alphabet
// of the bytes at which Java's UTF-8 decoder changes its mind, up to a length
// of three, and random ones beyond. Run with Hadoop's jars:
//   javac -cp 'JARS/*' TextCases.java && java -cp 'JARS/*:.' TextCases > text.tsv
import java.io.PrintStream;
import java.util.Random;
import org.apache.hadoop.io.Text;

public class TextCases {
    static final int[] ALPHABET = {0x41, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc0, 0xc1, 0xc2, 0xdf,
        0xe0, 0xe1, 0xec, 0xed, 0xee, 0xef, 0xf0, 0xf1, 0xf3, 0xf4, 0xf5, 0xf8, 0xfc, 0xff};
    static final PrintStream out = new PrintStream(System.out, false);

    public static void main(String[] args) throws Exception {
        all(new byte[0], 3);
        Random random = new Random(3);
        for (int i = 0; i < 6000; i++) {
            byte[] b = new byte[4 + random.nextInt(6)];
            for (int j = 0; j < b.length; j++) b[j] = (byte) ALPHABET[random.nextInt(ALPHABET.length)];
            print(b);
        }
        out.flush();
    }

    static void all(byte[] prefix, int left) throws Exception {
        print(prefix);
        if (left == 0) return;
        for (int c : ALPHABET) {
            byte[] b = java.util.Arrays.copyOf(prefix, prefix.length + 1);
            b[prefix.length] = (byte) c;
            all(b, left - 1);
        }
    }

    static void print(byte[] b) throws Exception {
        Text in = new Text();
        in.set(b, 0, b.length);
        Text word = new Text();
        word.set(in.toString());
        out.println(hex(b, b.length) + "\t" + hex(word.getBytes(), word.getLength()));
    }

    static String hex(byte[] b, int n) {
        StringBuilder s = new StringBuilder();
        for (int i = 0; i < n; i++) s.append(String.format("%02x", b[i]));
        return s.toString();
    }
}
