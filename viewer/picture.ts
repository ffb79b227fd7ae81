/**
 * The image as a deep zoom, with the heat map and the sub-tiles over it.
 *
 * @module
 */
import type Library from "openseadragon";
import type { ColouredMap } from "./heat.ts";
import type { AnnotatedObject, Region, SeenImage, SubTile } from "./types.ts";

// Its file is a script of its own, which runs before the modules.
const { OpenSeadragon } = globalThis as unknown as {
  OpenSeadragon: typeof Library;
};

interface Point {
  x: number;
  y: number;
}

/** A part of the image in view: its centre, level-0 px, and screen px a px. */
export interface View {
  x: number;
  y: number;
  zoom: number;
}

/** What lies over the image. */
export interface Drawing {
  heat: ColouredMap | undefined;
  opacity: number;
  /** Those that are framed. */
  boxes: readonly SubTile[];
  /** Index of the one that is chosen; -1 if none. */
  chosen: number;
  /** Objects, which are outlined. */
  objects: readonly AnnotatedObject[];
  /** Index of the object that is chosen; -1 if none. */
  chosenObject: number;
}

/** What a drag in the picture does, or a click in the case of a point. */
export type Tool = "move" | "box" | "point";

/** Who is told of what happens in the picture. */
export interface PictureListeners {
  onView(view: View): void;
  /** A box was clicked. */
  onPick(index: number): void;
  /** A part of the image could not be shown. */
  onProblem(message: string): void;
  /** A box was drawn, or a point, level-0 px. */
  onDraw?(region: Region): void;
}

const NOTHING: Drawing = {
  heat: undefined,
  opacity: 0,
  boxes: [],
  chosen: -1,
  objects: [],
  chosenObject: -1,
};
const MIN_BOX = 9; // screen px: a sub-tile of a slide is less than one
const SMALL = 2048; // px: an image that is seen whole needs no small twin
const CONTEXT = 5; // a chosen sub-tile takes a fifth of the picture
const POINT_SIDE = 16; // px that are shown of a point
const LINE = "#fde725", HALO = "#000000b0", CHOSEN = "#ff5ca8";
const OBJECT = "#35d6ed";
const MIN_DRAG = 4; // screen px: less is a click

/** The picture. */
export class Picture {
  readonly #viewer: Library.Viewer;
  readonly #canvas = document.createElement("canvas");
  readonly #listeners: PictureListeners;
  #image: SeenImage | undefined;
  #drawing = NOTHING;
  #goal: View | undefined;
  #isFresh = false; // nobody has moved it since it was opened
  #tool: Tool = "move";
  #dragged: { from: Point; to: Point } | undefined; // screen px

  constructor(host: HTMLElement, listeners: PictureListeners) {
    this.#listeners = listeners;
    const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
    this.#viewer = OpenSeadragon({
      element: host,
      drawer: "canvas",
      showNavigationControl: false,
      showNavigator: true,
      navigatorPosition: "TOP_RIGHT",
      navigatorAutoFade: false,
      navigatorSizeRatio: 0.16,
      navigatorBorderColor: "#8886",
      navigatorDisplayRegionColor: CHOSEN,
      animationTime: calm ? 0 : 0.7,
      maxZoomPixelRatio: 16,
      minZoomImageRatio: 0.6,
      visibilityRatio: 0.3,
      imageLoaderLimit: 6,
      maxTilesPerFrame: 6, // by default one, and a frame is 16 ms
      tileRetryMax: 2,
      loadTilesWithAjax: true, // images cannot send a token
      gestureSettingsMouse: { clickToZoom: false, dblClickToZoom: true },
      gestureSettingsTouch: { clickToZoom: false, dblClickToZoom: true },
    });
    this.#canvas.className = "over";
    host.classList.add("navigator-off");
    this.#viewer.canvas.append(this.#canvas);
    this.#listen();
  }

  /**
   * Shows an image.
   *
   * @param query names the image in requests for tiles.
   * @param view part that is shown first; all of the image if omitted.
   */
  open(
    image: SeenImage,
    { query, headers, view }: {
      query: string;
      headers: Record<string, string>;
      view: View | undefined;
    },
  ): void {
    this.#image = image;
    this.#drawing = NOTHING;
    this.#goal = view;
    this.#viewer.element.classList.toggle(
      "navigator-off",
      Math.max(image.width, image.height) <= SMALL,
    );
    this.#viewer.setAjaxHeaders(headers); // of the navigator as well
    this.#viewer.canvas.setAttribute("role", "img");
    this.#viewer.canvas.setAttribute(
      "aria-label",
      `${image.name}, ${image.width} by ${image.height} pixels`,
    );
    this.#viewer.open({
      tileSource: {
        width: image.width,
        height: image.height,
        tileSize: image.tileSide,
        tileOverlap: 0,
        minLevel: image.firstLevel,
        maxLevel: image.zoomLevels - 1,
        getTileUrl: (level: number, x: number, y: number) =>
          `v1/image_files/${level}/${x}_${y}.jpeg?${query}`,
      },
    });
  }

  close(): void {
    this.#image = undefined;
    this.#drawing = NOTHING;
    this.#viewer.close();
    this.#viewer.element.classList.add("navigator-off");
    this.#draw();
  }

  /** Lays a heat map and boxes over the image. */
  show(drawing: Drawing): void {
    this.#drawing = drawing;
    this.#draw();
  }

  /** Flies to a region, level-0 px, with what is around it. */
  flyTo({ x, y, width, height }: Region): void {
    this.#isFresh = false;
    const side = CONTEXT * Math.max(width, height, POINT_SIDE);
    this.#fit({
      x: x + width / 2,
      y: y + height / 2,
      zoom: Math.min(
        this.#viewer.container.clientWidth,
        this.#viewer.container.clientHeight,
      ) /
        side,
    });
  }

  /** Chooses what a drag does from now on. */
  use(tool: Tool): void {
    this.#tool = tool;
    this.#viewer.element.classList.toggle("draws", tool !== "move");
  }

  /** The middle of the part in view and its height, level-0 px. */
  get middle(): { x: number; y: number; height: number } | undefined {
    const view = this.#view();
    return view &&
      { ...view, height: this.#viewer.container.clientHeight / view.zoom };
  }

  /** Shows the whole image. */
  home(): void {
    this.#viewer.viewport?.goHome();
  }

  #listen(): void {
    const viewer = this.#viewer;
    viewer.addHandler("open", () => {
      this.#isFresh = true;
      this.#place();
      this.#draw();
    });
    viewer.addHandler("update-viewport", () => this.#draw());
    viewer.addHandler("resize", () => {
      // A phone gives the picture its room as it opens, and OpenSeadragon keeps
      // the zoom that was right before.
      requestAnimationFrame(() => {
        if (this.#isFresh) this.#place();
      });
      this.#draw();
    });
    for (
      const move of ["canvas-press", "canvas-scroll", "canvas-key"] as const
    ) {
      viewer.addHandler(move, () => this.#isFresh = false);
    }
    viewer.addHandler("animation-finish", () => {
      const view = this.#view();
      if (view) this.#listeners.onView(view);
    });
    viewer.addHandler("canvas-click", ({ quick, position }) => {
      const index = quick ? this.#boxAt(position) : -1;
      if (index >= 0) this.#listeners.onPick(index);
    });
    this.#listenToDraws();
    viewer.addHandler("canvas-key", (event) => {
      // Turning and mirroring would part the picture from what lies over it.
      const { key } = event.originalEvent as KeyboardEvent;
      if (/^[rfjkRFJK]$/.test(key)) event.preventDefaultAction = true;
    });
    const problem = ({ message }: { message?: string }) =>
      this.#listeners.onProblem(message ?? "");
    viewer.addHandler("open-failed", problem);
    viewer.addHandler("tile-load-failed", problem);
  }

  #listenToDraws(): void {
    const viewer = this.#viewer;
    viewer.addHandler("canvas-press", ({ position: { x, y } }) => {
      this.#dragged = { from: { x, y }, to: { x, y } };
    });
    viewer.addHandler("canvas-drag", (event) => {
      if (this.#tool !== "box" || !this.#dragged) return;
      event.preventDefaultAction = true; // it would pan
      const { x, y } = event.position;
      this.#dragged.to = { x, y };
      this.#draw();
    });
    viewer.addHandler("canvas-drag-end", (event) => {
      if (this.#tool === "box") event.preventDefaultAction = true;
    });
    viewer.addHandler("canvas-release", ({ position: { x, y } }) => {
      const dragged = this.#dragged;
      this.#dragged = undefined;
      if (dragged && this.#tool !== "move") {
        this.#finish({ ...dragged, to: { x, y } });
      }
      this.#draw();
    });
    viewer.addHandler("canvas-double-click", (event) => {
      if (this.#tool !== "move") event.preventDefaultAction = true;
    });
  }

  /** Tells of a box or a point that was drawn. */
  #finish(dragged: { from: Point; to: Point }): void {
    const placing = this.#placing();
    const { x, y, width, height } = between(dragged);
    const isClick = Math.max(width, height) < MIN_DRAG;
    if (!placing || isClick !== (this.#tool === "point")) return;
    const { left, top, zoom } = placing;
    const corner = { x: (x - left) / zoom, y: (y - top) / zoom };
    const size = isClick
      ? { width: 0, height: 0 }
      : { width: width / zoom, height: height / zoom };
    this.#listeners.onDraw?.({ ...corner, ...size });
  }

  /** Shows the part that was asked for, or the whole image. */
  #place(): void {
    if (this.#goal) this.#fit(this.#goal, true);
    else this.#viewer.viewport?.goHome(true);
  }

  #fit({ x, y, zoom }: View, immediately = false): void {
    const image = this.#image;
    if (!image || !this.#viewer.viewport) return;
    const { clientWidth, clientHeight } = this.#viewer.container;
    const width = clientWidth / zoom, height = clientHeight / zoom;
    this.#viewer.viewport.fitBounds(
      new OpenSeadragon.Rect(
        (x - width / 2) / image.width,
        (y - height / 2) / image.width,
        width / image.width,
        height / image.width,
      ),
      immediately,
    );
  }

  #view(): View | undefined {
    const placing = this.#placing();
    if (!placing) return undefined;
    const { clientWidth, clientHeight } = this.#viewer.container;
    const { left, top, zoom } = placing;
    return {
      x: Math.round((clientWidth / 2 - left) / zoom),
      y: Math.round((clientHeight / 2 - top) / zoom),
      zoom: Number(zoom.toPrecision(4)),
    };
  }

  /** Screen px of the image's corner, and screen px a level-0 px. */
  #placing(): { left: number; top: number; zoom: number } | undefined {
    const image = this.#image;
    if (!image || !this.#viewer.viewport || !this.#viewer.isOpen()) return;
    const { x, y, width } = this.#viewer.viewport.getBounds(true);
    const unit = this.#viewer.container.clientWidth / width;
    return { left: -x * unit, top: -y * unit, zoom: unit / image.width };
  }

  #draw(): void {
    const { clientWidth, clientHeight } = this.#viewer.container;
    const ratio = devicePixelRatio;
    const canvas = this.#canvas;
    const width = Math.round(clientWidth * ratio);
    const height = Math.round(clientHeight * ratio);
    if (canvas.width !== width) canvas.width = width;
    if (canvas.height !== height) canvas.height = height;
    const context = canvas.getContext("2d")!;
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, clientWidth, clientHeight);
    if (!this.#placing()) return;
    this.#drawHeat(context);
    const { boxes, chosen } = this.#drawing;
    const most = Math.max(...boxes.map(({ weight }) => weight));
    for (let i = boxes.length - 1; i >= 0; i--) { // the heaviest last
      if (i !== chosen) this.#drawBox(context, boxes[i]!, LINE, most);
    }
    const box = boxes[chosen];
    if (box) this.#drawBox(context, box, CHOSEN, most);
    const { objects, chosenObject } = this.#drawing;
    objects.forEach((object, i) =>
      this.#drawObject(context, object, i === chosenObject ? CHOSEN : OBJECT)
    );
    if (this.#dragged && this.#tool === "box") {
      const { x, y, width, height } = between(this.#dragged);
      const path = new Path2D();
      path.rect(x, y, width, height);
      outline(context, path, OBJECT);
    }
  }

  #drawHeat(context: CanvasRenderingContext2D): void {
    const { heat, opacity } = this.#drawing;
    const { left, top, zoom } = this.#placing()!;
    const { width, height } = this.#image!;
    if (!heat) return;
    context.globalAlpha = opacity;
    context.imageSmoothingEnabled = false; // its cells are what it says
    context.drawImage(heat.canvas, left, top, width * zoom, height * zoom);
    context.globalAlpha = 1;
  }

  #drawBox(
    context: CanvasRenderingContext2D,
    box: SubTile,
    colour: string,
    most: number,
  ): void {
    const { x, y, width, height } = this.#onScreen(box);
    const thick = 1 + 2 * box.weight / most;
    for (const [line, style] of [[thick + 2, HALO], [thick, colour]] as const) {
      context.lineWidth = line;
      context.strokeStyle = style;
      context.strokeRect(x, y, width, height);
    }
  }

  /** Outlines an object: its parts, its box, or a ring around a point. */
  #drawObject(
    context: CanvasRenderingContext2D,
    object: AnnotatedObject,
    colour: string,
  ): void {
    const { left, top, zoom } = this.#placing()!;
    const { x, y, width, height } = this.#onScreen(object);
    const path = new Path2D();
    if (object.polygons) {
      for (const ring of object.polygons.flat()) {
        ring.forEach((point, i) =>
          path[i === 0 ? "moveTo" : "lineTo"](
            left + point.x * zoom,
            top + point.y * zoom,
          )
        );
        path.closePath();
      }
    } else if (object.width === 0 && object.height === 0) {
      path.arc(x + width / 2, y + height / 2, width / 2, 0, 2 * Math.PI);
    } else path.rect(x, y, width, height);
    outline(context, path, colour);
  }

  /** A box on the screen, large enough to be seen. */
  #onScreen({ x, y, width, height }: Region) {
    const { left, top, zoom } = this.#placing()!;
    const size = {
      width: Math.max(width * zoom, MIN_BOX),
      height: Math.max(height * zoom, MIN_BOX),
    };
    return {
      x: left + (x + width / 2) * zoom - size.width / 2,
      y: top + (y + height / 2) * zoom - size.height / 2,
      ...size,
    };
  }

  /** The heaviest box under a point of the screen; -1 if there is none. */
  #boxAt(point: Library.Point): number {
    if (!this.#placing()) return -1;
    return this.#drawing.boxes.findIndex((box) => {
      const { x, y, width, height } = this.#onScreen(box);
      return point.x >= x && point.y >= y && point.x <= x + width &&
        point.y <= y + height;
    });
  }
}

/** The rectangle between two points. */
function between({ from, to }: { from: Point; to: Point }): Region {
  return {
    x: Math.min(from.x, to.x),
    y: Math.min(from.y, to.y),
    width: Math.abs(from.x - to.x),
    height: Math.abs(from.y - to.y),
  };
}

/** Draws a line that is seen on any ground. */
function outline(
  context: CanvasRenderingContext2D,
  path: Path2D,
  colour: string,
): void {
  for (const [line, style] of [[4, HALO], [2, colour]] as const) {
    context.lineWidth = line;
    context.strokeStyle = style;
    context.stroke(path);
  }
}
