/**
 * Worker of `classify` and `eval`: one image at a time.
 *
 * @module
 */
import { startClassifier } from "./classifier.ts";
import { serveTasks } from "../workers/pool.ts";

serveTasks(startClassifier);
