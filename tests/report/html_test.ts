import assert from "node:assert/strict";
import { html } from "../../lib/report/html.ts";

Deno.test("html escapes every value, and not its own tags", () => {
  const hostile = `<img src=x onerror="a('b')">&amp;`;
  assert.equal(
    html`<td title="${hostile}">${hostile}</td>`.text,
    '<td title="&lt;img src=x onerror=&quot;a(&#39;b&#39;)&quot;&gt;&amp;amp;">' +
      "&lt;img src=x onerror=&quot;a(&#39;b&#39;)&quot;&gt;&amp;amp;</td>",
  );
});

Deno.test("html joins lists, keeps parts, and leaves out null", () => {
  const cells = [1, "a<", null].map((value) => html`<td>${value}</td>`);
  assert.equal(
    html`<tr>${cells}</tr>`.text,
    "<tr><td>1</td><td>a&lt;</td><td></td></tr>",
  );
});
