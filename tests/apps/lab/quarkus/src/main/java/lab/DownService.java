package lab;

import jakarta.ws.rs.GET;
import jakarta.ws.rs.Path;
import jakarta.ws.rs.PathParam;
import java.util.Map;
import org.eclipse.microprofile.rest.client.inject.RegisterRestClient;

@RegisterRestClient(configKey = "down")
public interface DownService {
    @GET
    @Path("/down/{id}")
    Map<String, Object> down(@PathParam("id") long id);
}
