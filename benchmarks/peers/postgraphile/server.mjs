// PostGraphile v5 as its guide sets it up for production: Amber preset, no GraphiQL, one pool per process, and
// row-level security by pgSettings from a header of the request.
import cluster from "node:cluster";
import { createServer } from "node:http";
import { grafserv } from "postgraphile/grafserv/node";
import { postgraphile } from "postgraphile";
import { makePgService } from "postgraphile/adaptors/pg";
import { PostGraphileAmberPreset } from "postgraphile/presets/amber";

const workers = Number(process.env.BENCH_WORKERS);

const preset = {
  extends: [PostGraphileAmberPreset],
  pgServices: [
    makePgService({
      connectionString: process.env.BENCH_DATABASE_URL,
      schemas: ["public"],
      poolConfig: { max: Number(process.env.BENCH_POOL) },
    }),
  ],
  grafast: {
    explain: false,
    context: (request) => ({
      pgSettings: { "app.organization_id": request.node?.req.headers["x-organization"] ?? "" },
    }),
  },
  grafserv: { port: Number(process.env.BENCH_PORT), graphqlPath: "/graphql", graphiql: false, websockets: false, watch: false },
};

if (workers > 1 && cluster.isPrimary) {
  for (let count = 0; count < workers; count += 1) cluster.fork();
  process.on("SIGTERM", () => process.exit(0));
} else {
  const pgl = postgraphile(preset);
  const serv = pgl.createServ(grafserv);
  const server = createServer();
  await serv.addTo(server);
  server.listen(Number(process.env.BENCH_PORT), "127.0.0.1");
}
