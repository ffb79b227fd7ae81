/** A real browser, Debian's, for the tests of the page. */
import assert from "node:assert/strict";
import axe from "axe-core/axe.min.js" with { type: "text" };
import { eventually, LONGEST_MS } from "../waiting.ts";
import type { Browser, BrowserContextOptions, Page } from "playwright-core";
import { launchBrowser, noBrowser } from "../chromium.ts";

let browser: Promise<Browser> | undefined;

Deno.test.afterAll(async () => await (await browser)?.close());

/** A test in a page of its own, which must write no error to its console. */
export function pageTest(
  name: string,
  test: (page: Page) => Promise<void>,
  options: BrowserContextOptions & {
    /** Messages of the console that are no error. */
    allowed?: RegExp;
    ignore?: boolean;
  } = {},
): void {
  Deno.test({
    name,
    ignore: noBrowser || (options.ignore ?? false),
    sanitizeOps: false, // the browser outlives the test
    sanitizeResources: false,
    async fn() {
      browser ??= launchBrowser();
      const { allowed, ignore: _, ...context } = options;
      const page = await (await browser).newPage(context);
      page.setDefaultTimeout(LONGEST_MS);
      const errors: string[] = [];
      page.on("pageerror", ({ message }) => errors.push(message));
      page.on("console", (message) => {
        if (message.type() === "error") errors.push(message.text());
      });
      try {
        await test(page);
        const found = errors.filter((error) => !allowed?.test(error));
        assert.deepEqual(found, []);
      } finally {
        await page.context().close();
      }
    },
  });
}

/** Waits until an expression is true in the page. */
export async function until(page: Page, expression: string): Promise<void> {
  await eventually(expression, () => page.evaluate(expression));
}

/** What the address of the page says. */
export function stateOf(page: Page): Record<string, string> {
  return Object.fromEntries(
    new URLSearchParams(new URL(page.url()).hash.slice(1)),
  );
}

/** Faults of the page that keep people from using it, by axe-core. */
export async function accessFaults(page: Page): Promise<string[]> {
  await page.evaluate(axe);
  const found = await page.evaluate("axe.run()") as {
    violations: {
      id: string;
      impact: string;
      nodes: { html: string; failureSummary: string }[];
    }[];
  };
  return found.violations
    .filter(({ impact }) => ["serious", "critical"].includes(impact))
    .flatMap(({ id, nodes }) =>
      nodes.map(({ html, failureSummary }) =>
        `${id}: ${html}: ${failureSummary}`
      )
    );
}
