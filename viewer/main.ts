/**
 * The page: what its address says is shown, and what is changed in it becomes its
 * address.
 *
 * @module
 */
import { Api, wordsOf } from "./api.ts";
import { Chooser } from "./choose.ts";
import { classify } from "./classify.ts";
import { byId, element, say } from "./dom.ts";
import {
  coloured,
  type ColouredMap,
  colourOf,
  type HeatMap,
  heatMapOf,
} from "./heat.ts";
import { DrawPage } from "./draw.ts";
import { JobsPage } from "./jobs.ts";
import { Picture } from "./picture.ts";
import { Result } from "./result.ts";
import {
  Address,
  imageOf,
  type Overlay,
  OVERLAYS,
  type State,
} from "./state.ts";
import type {
  Classification,
  Model,
  Region,
  SeenImage,
  SubTile,
} from "./types.ts";

const VIEWS = ["look", "draw", "jobs"] as const;

const address = new Address();
const api = new Api(() => byId("token").hidden = false);
const chooser = new Chooser(api, address);
const jobs = new JobsPage(api, address, loadModels);
const drawing = new DrawPage(api, address);
const result = new Result(api, {
  onChoose: choose,
  onObject: (object) => picture.flyTo(object),
});
const picture = new Picture(byId("viewer"), {
  onView: (view) => address.set(view),
  onPick: choose,
  onProblem: (message) =>
    say(byId("image-error"), message || "A part of the image cannot be shown"),
});

let models: Model[] = [];
let image: SeenImage | undefined;
let maps: Partial<Record<Overlay, HeatMap>> = {};
let heat: ColouredMap | undefined;
let subTiles: SubTile[] = []; // the heaviest first
let chosen = -1;
let object: Region | undefined; // the one that decided
let running = new AbortController();
let loadingModels: Promise<void> | undefined;

/** Query that names the image of the address. */
function imageQuery(): string {
  return new URLSearchParams(imageOf(address.now)).toString();
}

async function loadModels(): Promise<void> {
  const error = byId("model-error");
  try {
    const listed = await api.get<{
      models: Model[];
      faults: { name: string; error: string }[];
    }>("v1/models");
    models = listed.models;
    byId("model").replaceChildren(
      ...models.map(({ name }) => element("option", { value: name }, name)),
    );
    const faults = listed.faults.map(({ name, error }) => `${name}: ${error}`);
    say(
      error,
      models.length === 0
        ? [
          "No model yet: train one, or copy a run into the folder of models",
          ...faults,
        ].join("; ")
        : faults.join("; "),
    );
    fillControls(address.now);
  } catch (failure) {
    say(error, wordsOf(failure));
  }
}

function modelOf({ model }: State): Model | undefined {
  return models.find(({ name }) => name === model) ??
    models.find((model) => model.default) ?? models[0];
}

/** Sets the controls to what the address says. */
function fillControls(state: State): void {
  const model = modelOf(state);
  byId<HTMLSelectElement>("model").value = model?.name ?? "";
  const samples = byId<HTMLInputElement>("samples");
  samples.value = state.samples > 0 ? String(state.samples) : "";
  samples.placeholder = String(model?.config.evaluation?.samples ?? "");
  byId<HTMLInputElement>("seed").value = String(state.seed);
  byId<HTMLSelectElement>("runs").value = String(state.runs);
  byId<HTMLInputElement>("opacity").value = String(state.opacity);
  byId<HTMLInputElement>("boxes").checked = state.boxes;
  for (const name of ["overlay", "scale"] as const) {
    const choice = document.querySelector<HTMLInputElement>(
      `input[name=${name}][value=${state[name]}]`,
    );
    if (choice) choice.checked = true;
  }
  byId<HTMLButtonElement>("go").disabled = !image || !model;
}

/** Shows the image of the address. */
async function openImage(): Promise<void> {
  const state = address.now;
  running.abort();
  const { signal } = running = new AbortController();
  forget();
  image = undefined;
  picture.close();
  say(byId("image-error"), "");
  const hasImage = imageOf(state) !== undefined;
  byId("hint").hidden = hasImage;
  byId("look").classList.toggle("has-image", hasImage);
  fillControls(state);
  if (!imageOf(state)) return;
  say(byId("status"), "Opening the image…");
  try {
    const query = imageQuery();
    image = await api.get<SeenImage>(`v1/image?${query}`, signal);
    picture.open(image, {
      query,
      headers: api.headers,
      view: state.zoom > 0 ? state : undefined,
    });
    fillControls(state);
    say(byId("status"), "");
    await loadingModels;
    await run();
  } catch (error) {
    if (signal.aborted) return;
    say(byId("status"), "");
    say(byId("image-error"), wordsOf(error));
  }
}

/** Forgets the result that is shown. */
function forget(): void {
  maps = {};
  heat = undefined;
  subTiles = [];
  object = undefined;
  chosen = -1;
  result.clear();
  say(byId("result-error"), "");
  draw();
}

/** Classifies the image as the address says. */
async function run(): Promise<void> {
  const state = address.now, model = modelOf(state);
  if (!image || !model) return;
  running.abort();
  const { signal } = running = new AbortController();
  forget();
  const tell = (what: string) => say(byId("status"), what);
  try {
    let isFirst = true;
    const question = { state, image, model };
    for await (const runs of classify(api, question, { signal, tell })) {
      result.answer(runs);
      if (isFirst) await showRegions(runs.first);
      isFirst = false;
    }
    tell("");
  } catch (error) {
    if (signal.aborted) return;
    tell("");
    say(byId("result-error"), wordsOf(error));
  }
}

async function showRegions(first: Classification): Promise<void> {
  subTiles = first.subTiles.toSorted((a, b) => b.weight - a.weight);
  object = first.object;
  result.list(subTiles, imageQuery());
  for (const [name, map] of Object.entries(first.maps ?? {})) {
    maps[name as Overlay] = await heatMapOf(map);
  }
  byId("evidence-choice").hidden = maps.evidence === undefined;
  colour();
  draw();
}

/** Colours the heat map of the address, and says what its colours mean. */
function colour(): void {
  const { overlay, scale } = address.now;
  const map = maps[overlay];
  heat = map && coloured(map, scale);
  const legend = byId("legend");
  legend.hidden = heat === undefined;
  if (!heat) return;
  const canvas = legend.querySelector("canvas")!;
  const context = canvas.getContext("2d")!;
  for (let x = 0; x < canvas.width; x++) {
    context.fillStyle = `rgb(${colourOf(x / (canvas.width - 1)).join(" ")})`;
    context.fillRect(x, 0, 1, canvas.height);
  }
  const what = overlay === "evidence" ? "Evidence" : "Attention";
  legend.querySelector("p")!.textContent = `${what} per px: ${
    heat.low === 0 ? 0 : heat.low.toExponential(1)
  } to ${heat.high.toExponential(1)}`;
}

function draw(): void {
  const { opacity, boxes } = address.now;
  picture.show({
    heat,
    opacity,
    boxes: boxes ? subTiles : [],
    chosen,
    objects: boxes && object ? [object] : [],
    chosenObject: -1,
  });
}

/** Chooses a sub-tile: flies to it, and shows it beside. */
function choose(index: number): void {
  const subTile = subTiles[index];
  if (!subTile) return;
  chosen = index;
  result.choose(index);
  draw();
  picture.flyTo(subTile);
}

function showView({ view }: State): void {
  for (const name of VIEWS) {
    byId(name).hidden = name !== view;
    const link = byId(`show-${name}`);
    if (name === view) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  if (view === "jobs") jobs.show();
  else jobs.leave();
  if (view === "draw") drawing.show();
}

address.onChange((now, before) => {
  if (now.view !== before.view) showView(now);
  else if (
    now.view === "draw" &&
    (now.table !== before.table || now.image !== before.image)
  ) drawing.show();
  const isOther =
    JSON.stringify(imageOf(now)) !== JSON.stringify(imageOf(before));
  const question = (state: State) =>
    JSON.stringify([state.model, state.samples, state.seed, state.runs]);
  if (isOther) openImage();
  else if (question(now) !== question(before)) {
    fillControls(now);
    run();
  }
  if (now.overlay !== before.overlay || now.scale !== before.scale) colour();
  draw();
});

byId("classify").addEventListener("submit", (event) => {
  event.preventDefault();
  const number = (id: string) => Number(byId<HTMLInputElement>(id).value);
  const asked = {
    model: byId<HTMLSelectElement>("model").value,
    samples: number("samples"),
    seed: number("seed"),
    runs: number("runs"),
  };
  const before = address.now;
  address.go(asked);
  const isSame = Object.entries(asked)
    .every(([key, value]) => before[key as keyof State] === value);
  if (isSame) run();
});

for (const name of ["overlay", "scale"] as const) {
  for (
    const choice of document.querySelectorAll<HTMLInputElement>(
      `input[name=${name}]`,
    )
  ) {
    choice.addEventListener(
      "change",
      () => address.set({ [name]: choice.value }),
    );
  }
}
byId("opacity").addEventListener(
  "input",
  () =>
    address.set({ opacity: Number(byId<HTMLInputElement>("opacity").value) }),
);
byId("boxes").addEventListener(
  "change",
  () => address.set({ boxes: byId<HTMLInputElement>("boxes").checked }),
);
byId("home").addEventListener("click", () => picture.home());
for (const view of VIEWS) {
  byId(`show-${view}`).addEventListener("click", (event) => {
    event.preventDefault();
    address.go({ view });
  });
}
addEventListener("beforeunload", (event) => {
  if (drawing.isChanged) event.preventDefault(); // the browser asks
});

byId("token").addEventListener("submit", (event) => {
  event.preventDefault();
  api.token = byId<HTMLInputElement>("token-text").value;
  byId<HTMLInputElement>("token-text").value = "";
  byId("token").hidden = true;
  start();
});

addEventListener("keydown", (event) => {
  const { key, target, ctrlKey, metaKey, altKey } = event;
  const isTyping = target instanceof HTMLElement &&
    target.matches(
      "input:not([type=radio], [type=checkbox], [type=range]), select, textarea",
    );
  const { overlay, boxes, view } = address.now;
  if (isTyping || altKey) return;
  if (view === "draw") drawing.key(event);
  if (ctrlKey || metaKey || view !== "look") return;
  const count = subTiles.length;
  if (key === "n") choose((chosen + 1) % count);
  if (key === "p") choose((chosen + count - (chosen < 0 ? 0 : 1)) % count);
  if (key === "h") picture.home();
  if (key === "b") address.set({ boxes: !boxes });
  if (key === "o") {
    const there = OVERLAYS.filter((name) => name === "none" || maps[name]);
    const next = there[(there.indexOf(overlay) + 1) % there.length]!;
    address.set({ overlay: next });
  }
  fillControls(address.now);
});

/** Folder of data of the image, to be listed. */
function folderOf({ path }: State): string {
  return path.startsWith("/") ? "" : path.split("/").slice(0, -1).join("/");
}

/** Loads what the page begins with. */
async function start(): Promise<void> {
  showView(address.now);
  loadingModels = loadModels();
  await Promise.all([chooser.list(folderOf(address.now)), openImage()]);
}

start();
