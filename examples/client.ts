/**
 * Classifies an image over HTTP.
 *
 *     deno run -A examples/client.ts http://127.0.0.1:8000 images/test_00000.png
 */
import { Client } from "../lib/client.ts";

const [address, path] = Deno.args;
if (!address || !path) {
  throw new Error("Give the server and an image of its data");
}

const client = new Client(address);
const { label, probabilities, model } = await client.classify({ path });
console.log(`${model.name} ${model.version}: ${label}`, probabilities);
