/**
 * The engine's Worker, in which the classification of an image named "endless"
 * never ends, nor lets a message in. With all the room for pictures decoded
 * whole it is named "endless picture".
 *
 * @module
 */
import { DecodingRoom } from "../../lib/image/decoding_room.ts";
import type {
  ClassifyTask,
  EngineSetup,
} from "../../lib/serve/engine/protocol.ts";

type Call = MessageEvent<
  | { method: "start"; input: EngineSetup }
  | { method: "classify"; input: ClassifyTask }
>;

await import("../../lib/serve/engine/worker.ts");

const scope = self as unknown as { onmessage: (event: Call) => void };
const take = scope.onmessage;
let setup: EngineSetup;
scope.onmessage = async (event) => {
  const { data } = event;
  if (data.method === "start") setup = data.input;
  const name = data.method === "classify" ? data.input.name : "";
  if (name === "endless picture") await takeAllRoom(setup);
  while (name.startsWith("endless"));
  take(event);
};

async function takeAllRoom(
  { room: counters, worker, memoryBytes: bytes }: EngineSetup,
): Promise<void> {
  await new DecodingRoom({ counters, worker, bytes }).take(bytes);
}
