import assert from "node:assert/strict";
import { TrainingError } from "../../lib/errors.ts";
import { MlflowRun } from "../../lib/train/mlflow.ts";
import { within } from "../waiting.ts";

const RUN = {
  folder: "unused",
  resume: false,
  experiment: "zoomin",
  name: "run",
  params: {},
};

Deno.test("an MLflow server that does not answer is told, without its password", async () => {
  const silence = Promise.withResolvers<Response>();
  const server = Deno.serve({ port: 0, onListen() {} }, () => silence.promise);
  const host = `127.0.0.1:${server.addr.port}`;
  try {
    const started = MlflowRun.start({
      ...RUN,
      uri: `http://me:secret@${host}`,
    });
    await within(
      "it gives up",
      assert.rejects(started, (error: Error) => {
        assert.ok(error instanceof TrainingError);
        assert.equal(
          error.message,
          `Cannot use http://${host} as an MLflow server: it does not answer within 15 s; check its address`,
        );
        return true;
      }),
    );
  } finally {
    silence.resolve(new Response());
    await server.shutdown();
  }
});
