// Asks COUNT users by HttpClient, from FIRST on, as many at once as IN_FLIGHT: Ask SERVER AUTHORITY FIRST COUNT IN_FLIGHT BEGIN
//
// Until the file BEGIN exists, user 0 is asked again and again, each time by a new connection. The environment's
// SSL_CERT_FILE is what is trusted.
using System;
using System.IO;
using System.Linq;
using System.Net.Http;
using System.Threading;
using System.Threading.Tasks;

static class Ask
{
    static void Main(string[] args)
    {
        AskAll(args).GetAwaiter().GetResult();
    }

    static async Task AskAll(string[] args)
    {
        int last = int.Parse(args[2]) - 1, end = last + int.Parse(args[3]), inFlight = int.Parse(args[4]);
        while (!File.Exists(args[5]))
        {
            using (var client = Open(1)) await One(client, args[0], 0);
            await Task.Delay(50);
        }
        using (var client = Open(inFlight))
        {
            Func<Task> work = async () =>
            {
                for (int user; (user = Interlocked.Increment(ref last)) <= end;) await One(client, args[0], user);
            };
            await Task.WhenAll(Enumerable.Range(0, inFlight).Select(_ => work()));
        }
    }

    static HttpClient Open(int connections)
    {
        return new HttpClient(new SocketsHttpHandler { MaxConnectionsPerServer = connections, UseProxy = false });
    }

    static async Task One(HttpClient client, string server, int user)
    {
        using (var answer = await client.GetAsync(server + "/users/" + user))
        {
            answer.EnsureSuccessStatusCode();
            await answer.Content.ReadAsStringAsync();
        }
    }
}
