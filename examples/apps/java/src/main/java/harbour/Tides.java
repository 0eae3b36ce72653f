package harbour;

import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.nio.charset.StandardCharsets;
import java.security.Security;
import java.time.Duration;
import java.time.Instant;
import java.util.concurrent.Executors;

/** A small web service that tells what it is made of, and how high the water stands. */
public final class Tides {
    /** The main lunar tide: from one high water to the next. */
    private static final Duration PERIOD = Duration.ofSeconds(44_714);

    private static final double MEAN_METRES = 3.0;
    private static final double AMPLITUDE_METRES = 2.2;

    public static void main(String[] args) throws IOException {
        int port = Integer.parseInt(System.getenv().getOrDefault("PORT", "8080"));
        HttpServer server = HttpServer.create(new InetSocketAddress(port), 0);
        server.setExecutor(Executors.newVirtualThreadPerTaskExecutor());
        server.createContext("/", Tides::about);
        server.createContext("/healthz", exchange -> answer(exchange, 200, "ok\n"));
        server.createContext("/height", exchange -> answer(exchange, 200, "%.2f m%n".formatted(height(Instant.now()))));
        Runtime.getRuntime().addShutdownHook(new Thread(() -> server.stop(5)));
        server.start();
        System.out.println("listening on " + server.getAddress());
    }

    private static void about(HttpExchange exchange) throws IOException {
        if (!exchange.getRequestURI().getPath().equals("/")) {
            answer(exchange, 404, "not found\n");
            return;
        }
        Runtime runtime = Runtime.getRuntime();
        answer(exchange, 200, "tides on Java %s%n%s%nheap of %d MiB, %d processors%n".formatted(
                System.getProperty("java.vm.version"),
                Security.getProvider("SunJSSE"),
                runtime.maxMemory() >> 20,
                runtime.availableProcessors()));
    }

    private static double height(Instant at) {
        double turns = (double) at.getEpochSecond() / PERIOD.toSeconds();
        return MEAN_METRES + AMPLITUDE_METRES * Math.cos(2 * Math.PI * turns);
    }

    private static void answer(HttpExchange exchange, int status, String text) throws IOException {
        byte[] body = text.getBytes(StandardCharsets.UTF_8);
        exchange.getResponseHeaders().set("Content-Type", "text/plain; charset=utf-8");
        exchange.sendResponseHeaders(status, body.length);
        try (var out = exchange.getResponseBody()) {
            out.write(body);
        }
    }
}
