import io.undertow.Handlers;
import io.undertow.Undertow;
import io.undertow.server.HttpHandler;
import io.undertow.servlet.Servlets;
import io.undertow.servlet.api.DeploymentInfo;
import io.undertow.servlet.api.DeploymentManager;
import io.undertow.servlet.api.ServletInfo;
import io.undertow.servlet.util.ImmediateInstanceFactory;
import io.undertow.util.HttpString;
import jakarta.servlet.http.HttpServlet;
import jakarta.servlet.http.HttpServletRequest;
import jakarta.servlet.http.HttpServletResponse;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.Map;
import org.apache.catalina.Context;
import org.apache.catalina.connector.Connector;
import org.apache.catalina.startup.Tomcat;
import org.eclipse.jetty.ee10.servlet.ServletContextHandler;
import org.eclipse.jetty.ee10.servlet.ServletHolder;
import org.eclipse.jetty.server.Server;
import org.eclipse.jetty.server.ServerConnector;

/**
 * The same servlets in Tomcat, Jetty and Undertow, each with its defaults, and
 * Undertow's own handlers for path prefixes. Prints the address of each as one
 * line of JSON. The folder in the only argument is for what Tomcat writes.
 */
public class Servers {
    private static final String LOOPBACK = "127.0.0.1";

    /** Where each servlet answers, as its deployment descriptor would say. */
    private static final Map<String, String> MAPPINGS =
            Map.of("open", "/open/*", "admin", "/admin/*", "exact", "/exact", "read", "/read", "other", "/");

    /** Says in the answer that it ran. */
    private static class Ran extends HttpServlet {
        private final String name;

        Ran(String name) {
            this.name = name;
        }

        @Override
        protected void service(HttpServletRequest request, HttpServletResponse response) throws IOException {
            response.setHeader("x-ran", name);
            response.getWriter().println(name);
        }
    }

    /** For GET only, and the container's own HEAD. */
    private static class Read extends HttpServlet {
        @Override
        protected void doGet(HttpServletRequest request, HttpServletResponse response) throws IOException {
            response.setHeader("x-ran", "read");
            response.getWriter().println("read");
        }
    }

    public static void main(String[] arguments) throws Exception {
        Map<String, Integer> ports = new LinkedHashMap<>();
        ports.put("tomcat", tomcat(Path.of(arguments[0])));
        ports.put("jetty", jetty());
        ports.put("undertow", undertow(servlets()));
        ports.put("undertow-handlers", undertow(handlers()));
        StringBuilder line = new StringBuilder();
        ports.forEach((name, port) -> line.append(line.isEmpty() ? "{" : ", ")
                .append('"').append(name).append("\": \"").append(LOOPBACK).append(':').append(port).append('"'));
        System.out.println(line.append('}'));
        Thread.currentThread().join();
    }

    private static HttpServlet servlet(String name) {
        return name.equals("read") ? new Read() : new Ran(name);
    }

    private static int tomcat(Path folder) throws Exception {
        Tomcat tomcat = new Tomcat();
        tomcat.setBaseDir(Files.createDirectories(folder).toString());
        Connector connector = new Connector();
        connector.setProperty("address", LOOPBACK);
        connector.setPort(0);
        tomcat.setConnector(connector);
        Context context = tomcat.addContext("", null);
        MAPPINGS.forEach((name, mapping) -> {
            Tomcat.addServlet(context, name, servlet(name));
            context.addServletMappingDecoded(mapping, name);
        });
        tomcat.start();
        return connector.getLocalPort();
    }

    private static int jetty() throws Exception {
        Server server = new Server(new InetSocketAddress(LOOPBACK, 0));
        ServletContextHandler context = new ServletContextHandler("/");
        MAPPINGS.forEach((name, mapping) -> context.addServlet(new ServletHolder(name, servlet(name)), mapping));
        server.setHandler(context);
        server.start();
        return ((ServerConnector) server.getConnectors()[0]).getLocalPort();
    }

    private static int undertow(HttpHandler handler) {
        Undertow undertow = Undertow.builder().addHttpListener(0, LOOPBACK).setHandler(handler).build();
        undertow.start();
        return ((InetSocketAddress) undertow.getListenerInfo().get(0).getAddress()).getPort();
    }

    private static HttpHandler servlets() throws Exception {
        DeploymentInfo deployment = Servlets.deployment()
                .setClassLoader(Servers.class.getClassLoader())
                .setContextPath("/")
                .setDeploymentName("servers");
        MAPPINGS.forEach((name, mapping) -> {
            HttpServlet servlet = servlet(name);
            deployment.addServlet(
                    new ServletInfo(name, servlet.getClass(), new ImmediateInstanceFactory<>(servlet)).addMapping(mapping));
        });
        DeploymentManager manager = Servlets.defaultContainer().addDeployment(deployment);
        manager.deploy();
        return manager.start();
    }

    private static HttpHandler handlers() {
        return Handlers.path(ran("other"))
                .addPrefixPath("/open", ran("open"))
                .addPrefixPath("/admin", ran("admin"))
                .addExactPath("/exact", ran("exact"));
    }

    private static HttpHandler ran(String name) {
        return exchange -> {
            exchange.getResponseHeaders().put(new HttpString("x-ran"), name);
            exchange.getResponseSender().send(name + "\n");
        };
    }
}
