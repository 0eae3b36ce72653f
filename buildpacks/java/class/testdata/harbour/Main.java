package harbour;
public class Main { public static final long BIG = 1L << 40; static final double D = 0.5; public static void main(String[] args) { Runnable r = () -> System.out.println(args.length + " ahoy"); r.run(); } }
