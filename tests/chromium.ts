/** A real browser, Debian's chromium. */
import type { Browser } from "playwright-core";

// Without it playwright looks, as it is loaded, for files that tests may not
// read.
Deno.env.set("__IS_WSL_TEST__", "1");
const { chromium } = await import("playwright-core");

const PROGRAM = "/usr/bin/chromium"; // apt-get install chromium
const REQUIRED = Deno.env.get("CI") === "true";

/** True where tests are left out: there is no browser. */
export const noBrowser: boolean = !REQUIRED &&
  !await Deno.stat(PROGRAM).then(() => true, () => false);

/** Starts the browser; close it when done. */
export async function launchBrowser(): Promise<Browser> {
  return await chromium.launch({
    executablePath: PROGRAM,
    args: ["--no-sandbox"],
  });
}
