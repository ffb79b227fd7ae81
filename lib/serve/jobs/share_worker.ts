/**
 * A Worker that shares the steps of a training job, and opens images as the job
 * does.
 *
 * @module
 */
import { serveShares } from "../../train/parallel/serve_shares.ts";
import { guardedOpening } from "../intake/guarded_opening.ts";
import { openPlace } from "./features.ts";

serveShares(guardedOpening, openPlace);
