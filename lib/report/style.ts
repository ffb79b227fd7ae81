/**
 * The looks of a report: light and dark, on a screen and on paper.
 *
 * @module
 */
import { Html } from "./html.ts";

/** The style sheet, as an element. */
export const STYLE: Html = new Html(`<style>
:root {
  --ground: #fbfbfa; --card: #fff; --ink: #1d2328; --soft: #5b6670;
  --line: #dfe3e6; --accent: #0072b2; --good: #00795a; --bad: #b84a00;
  --accent-rgb: 0 114 178;
}
@media screen and (prefers-color-scheme: dark) {
  :root {
    --ground: #14181b; --card: #1c2226; --ink: #e6eaed; --soft: #9aa6b0;
    --line: #343d44; --accent: #5db3e6; --good: #3fbf97; --bad: #f08c4a;
    --accent-rgb: 93 179 230;
  }
  .chart .line-0 { --own: #5db3e6; }
  .chart .line-6 { --own: #e6eaed; }
  .chart polyline.line-0, .chart polyline.line-6 { stroke: var(--own); }
  .chart circle.line-0, .chart circle.line-6,
  .chart text.line-0, .chart text.line-6 { fill: var(--own); }
}
* { box-sizing: border-box; }
body {
  margin: 0 auto; max-width: 70rem; padding: 2.5rem 1.5rem 4rem;
  background: var(--ground); color: var(--ink);
  font: 15px/1.55 system-ui, "Segoe UI", Roboto, "Helvetica Neue", sans-serif;
}
h1 { margin: 0; font-size: 1.9rem; line-height: 1.2; overflow-wrap: anywhere; }
h2 {
  margin: 3rem 0 1rem; padding-top: .9rem; border-top: 1px solid var(--line);
  font-size: 1.3rem;
}
h3 { margin: 1.8rem 0 .6rem; font-size: 1.02rem; }
p { margin: .5rem 0; max-width: 46rem; }
.kind {
  margin: 0 0 .3rem; color: var(--soft); font-size: .78rem;
  letter-spacing: .08em; text-transform: uppercase;
}
.lead { color: var(--soft); font-size: 1.05rem; }
.note, figcaption, footer { color: var(--soft); font-size: .85rem; }
nav { display: flex; flex-wrap: wrap; gap: .3rem 1.2rem; margin-top: 1.2rem; }
a { color: var(--accent); text-decoration: none; }
a:hover, a:focus-visible { text-decoration: underline; }
code, .path { font: .86em ui-monospace, Menlo, Consolas, monospace; }
.path { overflow-wrap: anywhere; }
.key {
  display: grid; gap: .8rem; margin: 1.5rem 0 0;
  grid-template-columns: repeat(auto-fit, minmax(9.5rem, 1fr));
}
.key > div {
  padding: .7rem .9rem; border: 1px solid var(--line); border-radius: 8px;
  background: var(--card);
}
.key dt { color: var(--soft); font-size: .82rem; }
.key dd {
  margin: 0; font-size: 1.5rem; font-variant-numeric: tabular-nums;
  line-height: 1.35; overflow-wrap: anywhere;
}
.key dd.note { font-size: .8rem; }
.scroll { overflow-x: auto; margin: .6rem 0 1rem; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td {
  padding: .34rem .9rem .34rem 0; border-bottom: 1px solid var(--line);
  text-align: left; vertical-align: baseline; white-space: nowrap;
}
thead th { color: var(--soft); font-size: .82rem; font-weight: 600; }
tbody th { font-weight: 500; }
th.number, td.number { text-align: right; }
.facts th { min-width: 11rem; color: var(--soft); white-space: normal; }
td.wide { max-width: 40rem; white-space: normal; overflow-wrap: anywhere; }
.confusion td, .confusion th { padding: .45rem .8rem; }
.confusion td {
  min-width: 4rem; border: 1px solid var(--line); text-align: center;
  background: rgb(var(--accent-rgb) / calc(var(--share) * .45));
}
.confusion td.right { font-weight: 700; }
.confusion thead th { text-align: center; }
.bar { width: 12rem; height: 1rem; vertical-align: middle; }
.bar .track { stroke: var(--line); stroke-width: 1; }
.bar .range { stroke: var(--accent); stroke-width: 5; opacity: .35; }
.bar .value { fill: var(--accent); }
.bar .second { fill: var(--soft); }
.charts {
  display: grid; gap: 1rem; margin: 1rem 0;
  grid-template-columns: repeat(auto-fill, minmax(min(19rem, 100%), 1fr));
}
figure { margin: 0; }
.chart, .picture {
  padding: .5rem; border: 1px solid var(--line); border-radius: 8px;
  background: var(--card);
}
.chart svg { display: block; width: 100%; height: auto; }
.chart .ground { fill: none; }
.chart .grid { stroke: var(--line); }
.chart .words { fill: var(--ink); }
.picture { background: #fff; }
.picture img { display: block; width: 100%; height: auto; }
.cases {
  display: grid; gap: 1rem;
  grid-template-columns: repeat(auto-fill, minmax(min(15rem, 100%), 1fr));
}
.case {
  padding: .9rem; border: 1px solid var(--line); border-radius: 8px;
  background: var(--card); break-inside: avoid;
}
.case .name { margin: 0; font-weight: 600; overflow-wrap: anywhere; }
.case .overview { display: block; width: 100%; height: 14rem; margin: .6rem 0; }
.case .overview rect { fill: none; vector-effect: non-scaling-stroke; }
.case .overview .under { stroke: #000; }
.tiles { display: grid; grid-template-columns: repeat(5, minmax(0, 1fr)); gap: .4rem; }
.tiles img {
  display: block; width: 100%; aspect-ratio: 1; object-fit: contain;
  image-rendering: pixelated; border-radius: 3px;
}
.tiles figcaption { text-align: center; font-size: .75rem; }
.right-label { color: var(--good); }
.wrong-label { color: var(--bad); }
details { margin: .8rem 0; }
summary { cursor: pointer; color: var(--accent); }
pre {
  padding: .8rem; border: 1px solid var(--line); border-radius: 8px;
  background: var(--card); overflow-x: auto;
  font: .8rem/1.5 ui-monospace, Menlo, Consolas, monospace;
}
footer { margin-top: 3rem; padding-top: 1rem; border-top: 1px solid var(--line); }
@media (max-width: 40rem) {
  body { padding: 1.5rem 1rem 3rem; }
  .bar { width: 5rem; }
  .facts th { min-width: 8rem; }
}
@media print {
  @page { margin: 14mm; }
  body { max-width: none; padding: 0; background: #fff; font-size: 10pt; }
  nav { display: none; }
  h2, h3 { break-after: avoid; }
  tr, figure, .key > div { break-inside: avoid; }
  .scroll { overflow: visible; }
  th, td { white-space: normal; }
  td.number { white-space: nowrap; }
  .bar { width: 7rem; }
  .charts { grid-template-columns: 1fr 1fr; }
  .cases { grid-template-columns: repeat(4, minmax(0, 1fr)); }
  .tiles figcaption { font-size: 6pt; }
  .confusion td, .bar * {
    print-color-adjust: exact; -webkit-print-color-adjust: exact;
  }
}
</style>`);
