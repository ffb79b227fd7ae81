/**
 * A thread whose work has ended and left garbage, of which V8 has room for far
 * more; prints "collected" once it is gone. See idle_collector_test.ts.
 */
import { setTimeout as pause } from "node:timers/promises";
import { idleCollector } from "../../lib/serve/idle_collector.ts";

const workEnded = idleCollector();
const garbage = new WeakRef({ name: "garbage" });
workEnded();
while (garbage.deref() !== undefined) await pause(100);
console.log("collected");
