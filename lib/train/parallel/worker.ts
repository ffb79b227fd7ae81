/**
 * A Worker of a training run, which opens images as the command line does.
 *
 * @module
 */
import { serveShares } from "./serve_shares.ts";

serveShares(() => ({}));
