import { testNatsStore } from "./nats_stores.ts";
import "./nats_server.ts"; // a test of real servers

testNatsStore("NATS, a cluster of three", 3);
