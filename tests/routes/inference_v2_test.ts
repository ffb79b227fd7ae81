import assert from "node:assert/strict";
import { assertRefused, imageOf, post, serverOfFile } from "../serve/served.ts";

const server = serverOfFile("--workers", "1");

async function get(path: string): Promise<Response> {
  return await fetch(`${server.url}/v2${path}`);
}

function infer(body: unknown, model = "first"): Promise<Response> {
  return post(`${server.url}/v2/models/${model}/infer`, body);
}

async function input(...names: string[]) {
  const data = await Promise.all(
    names.map(async (name) => (await imageOf(server.folder, name)).toBase64()),
  );
  return { name: "image", datatype: "BYTES", shape: [data.length], data };
}

Deno.test("the server and its models describe themselves", async () => {
  const { name, version, extensions } = await (await get("")).json();
  assert.equal(name, "zoomin");
  assert.match(version, /^\d+\.\d+\.\d+$/);
  assert.deepEqual(extensions, ["binary_tensor_data"]);
  assert.deepEqual(await (await get("/health/live")).json(), { live: true });
  assert.deepEqual(await (await get("/health/ready")).json(), { ready: true });
  const model = await (await get("/models/first")).json();
  assert.deepEqual(model.inputs, [
    { name: "image", datatype: "BYTES", shape: [-1] },
    { name: "uri", datatype: "BYTES", shape: [-1] },
    { name: "pixels", datatype: "UINT8", shape: [-1, -1, -1, 3] },
  ]);
  assert.deepEqual(model.outputs, [
    { name: "label", datatype: "BYTES", shape: [-1] },
    { name: "probabilities", datatype: "FP32", shape: [-1, 2] },
  ]);
  const [only] = model.versions;
  const same = await (await get(`/models/first/versions/${only}`)).json();
  assert.deepEqual(same, model);
  for (const path of ["", `/versions/${only}`]) {
    const ready = await (await get(`/models/first${path}/ready`)).json();
    assert.deepEqual(ready, { name: "first", ready: true });
  }
  for (
    const path of ["/models/x", "/models/x/ready", "/models/first/versions/0"]
  ) {
    await assertRefused(await get(path), { status: 404 });
  }
});

Deno.test("who asks for one output gets that one", async () => {
  const inputs = [await input("test_00000.png")];
  const namesOf = async (outputs: unknown) => {
    const answer = await (await infer({ inputs, outputs })).json();
    return answer.outputs.map(({ name }: { name: string }) => name);
  };
  assert.deepEqual(await namesOf([{ name: "label" }]), ["label"]);
  assert.deepEqual(await namesOf([]), ["label", "probabilities"]);
  await assertRefused(await infer({ inputs, outputs: [{ name: "other" }] }), {
    status: 400,
    field: "outputs.0.name",
  });
});

Deno.test("images are classified, and the id comes back", async () => {
  const names = ["test_00000.png", "test_00001.png"];
  const response = await infer({
    id: "mine",
    parameters: { seed: 3 },
    inputs: [await input(...names)],
  });
  const { id, model_name, outputs } = await response.json();
  assert.equal(response.status, 200);
  assert.deepEqual({ id, model_name }, { id: "mine", model_name: "first" });
  const [label, probabilities] = outputs;
  assert.deepEqual(label.shape, [2]);
  assert.deepEqual(probabilities.shape, [2, 2]);
  for (const [i, name] of names.entries()) {
    const ours = await post(`${server.url}/v1/classify`, {
      path: `images/${name}`,
      seed: 3,
    });
    const direct = await ours.json();
    assert.equal(label.data[i], direct.label);
    const expected = Object.values<number>(direct.probabilities);
    expected.forEach((p, c) =>
      assert.ok(Math.abs(probabilities.data[2 * i + c] - p) < 1e-5)
    );
  }
  const named = await infer({
    inputs: [{
      name: "uri",
      datatype: "BYTES",
      shape: [1],
      data: ["images/test_00000.png"],
    }],
  });
  assert.equal(named.status, 200);
  assert.equal((await named.json()).outputs[0].data.length, 1);
});

Deno.test("a faulty request says where", async () => {
  const good = await input("test_00000.png");
  const faults: [unknown, number, string?][] = [
    [{}, 400, "inputs"],
    [{ inputs: [] }, 400, "inputs"],
    [{ inputs: [{ ...good, name: "picture" }] }, 400, "inputs.0.name"],
    [{ inputs: [{ ...good, datatype: "FP32" }] }, 400, "inputs.0.datatype"],
    [{ inputs: [{ ...good, shape: [2] }] }, 400, "inputs.0.shape"],
    [{ inputs: [{ ...good, data: ["*"] }] }, 400, "inputs.0.data"],
    [{ inputs: [{ ...good, data: ["aGVsbG8="] }] }, 415],
    [{ inputs: [good], parameters: { samples: 0 } }, 400, "parameters.samples"],
    [{ inputs: [{ ...good, name: "uri", data: ["/etc/passwd"] }] }, 403],
  ];
  for (const [body, status, field] of faults) {
    await assertRefused(await infer(body), {
      status,
      ...(field && { field }),
    });
  }
  await assertRefused(await infer({ inputs: [good] }, "other"), {
    status: 404,
  });
});
