package harbour;
public class Other { public void main(String[] args) {} public static int main(int n) { return n; } static void main(String[] a, int b) {} }
