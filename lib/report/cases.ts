/**
 * The best and worst cases, with pictures of what the network looked at.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { NamedError } from "../errors.ts";
import { heatColour } from "../eval/heatmap/colours.ts";
import { wholePixels } from "../eval/sub_tile_files.ts";
import { isUrl } from "../image/bytes/source.ts";
import { encodeJpeg } from "../image/formats/jpeg.ts";
import { encodePng } from "../image/formats/png.ts";
import { type Region, rescaledRegion, type Size } from "../image/geometry.ts";
import { openImage } from "../image/open.ts";
import { readOverview } from "../image/overview.ts";
import type { Pyramid } from "../image/pyramid.ts";
import { figure } from "../words.ts";
import { type Content, type Html, html } from "./html.ts";
import type { PredictedCase } from "./records.ts";

const SHOWN = 4; // of the best, and of the worst
const OVERVIEW_SIDE = 480; // px
const TILE_SIDE = 192; // px
const STROKE = 3; // of the heaviest sub-tile, px of the screen

/** Pictures of an image, as data URLs. */
interface Pictures {
  overview: string;
  subTiles: string[];
}

/** The cases of most and of least probability for their true class. */
export async function cases(
  images: readonly PredictedCase[],
  signal?: AbortSignal,
): Promise<Content> {
  if (images.length === 0) {
    return html`<p>No table of predictions was recorded.</p>`;
  }
  const right = ({ label, probabilities }: PredictedCase) =>
    probabilities[label] ?? 0;
  const sorted = images.toSorted((a, b) => right(a) - right(b));
  const half = Math.min(SHOWN, Math.ceil(sorted.length / 2));
  const worst = sorted.slice(0, half);
  const best = sorted.slice(half).slice(-SHOWN).reverse();
  return html`<p>By the probability of the true class. Frames are the heaviest sub-tiles of those that were drawn, the heavier the thicker and brighter; below, the same at full resolution with their weights.</p>
<h3>Worst</h3>
${await caseList(worst, signal)}
<h3>Best</h3>
${await caseList(best, signal)}`;
}

async function caseList(
  images: readonly PredictedCase[],
  signal: AbortSignal | undefined,
): Promise<Html> {
  const cards: Html[] = []; // one image in memory at a time
  for (const image of images) cards.push(await caseCard(image, signal));
  return html`<div class="cases">${cards}</div>`;
}

async function caseCard(
  one: PredictedCase,
  signal: AbortSignal | undefined,
): Promise<Html> {
  const { image, label, predicted, probabilities } = one;
  const isRight = label === predicted;
  return html`
    <article class="case">
    <p class="name">${image}</p>
    <p>true <b>${label}</b>, called <b class="${isRight
      ? "right-label"
      : "wrong-label"}">${predicted}</b>, p(${label}) = ${figure(
        probabilities[label],
      )}</p>
    ${await pictured(one, signal)}
    </article>
  `;
}

/** The pictures, or the reason why there are none. */
async function pictured(
  { where, image }: PredictedCase,
  signal: AbortSignal | undefined,
): Promise<Html> {
  if (!where) return noPicture("where the network looked was not recorded");
  if (isUrl(where.path)) return noPicture("the image is remote, and not read");
  try {
    const { overview, subTiles } = await readPictures(where, signal);
    return html`${overviewOf(where, overview)}<div class="tiles">${
      where.subTiles.map(({ weight }, i) =>
        html`<figure><img src="${subTiles[i]!}" alt="sub-tile ${
          i + 1
        }"><figcaption>${figure(weight)}</figcaption></figure>`
      )
    }</div>`;
  } catch (error) {
    signal?.throwIfAborted();
    // A file that is gone, or cannot be decoded here, costs its pictures alone.
    // It is named as the table does: a report that is passed on tells no folder.
    if (error instanceof NamedError) {
      return noPicture(error.message.replaceAll(where.path, image));
    }
    throw error;
  }
}

function noPicture(reason: string): Html {
  return html`<p class="note">No picture: ${reason}.</p>`;
}

async function readPictures(
  { path, size, subTiles }: NonNullable<PredictedCase["where"]>,
  signal: AbortSignal | undefined,
): Promise<Pictures> {
  const image = await openImage(path, signal ? { signal } : {});
  try {
    const overview = await readOverview(image, OVERVIEW_SIDE, signal);
    const pictures: Pictures = {
      overview: dataUrl("jpeg", await encodeJpeg(overview)),
      subTiles: [],
    };
    for (const subTile of subTiles) {
      const region = rescaledRegion(subTile, size, image);
      pictures.subTiles.push(await regionPicture(image, region, signal));
    }
    return pictures;
  } finally {
    image.close();
  }
}

/** A region of level 0, of the coarsest level that has its details. */
async function regionPicture(
  image: Pyramid,
  region: Region,
  signal: AbortSignal | undefined,
): Promise<string> {
  const side = Math.max(region.width, region.height);
  const index = Math.max(
    0,
    image.levels.findLastIndex(({ downsample }) =>
      side / downsample >= TILE_SIDE
    ),
  );
  const within = wholePixels(
    rescaledRegion(region, image, image.levels[index]!),
  );
  const pixels = await image.read(within, index, signal);
  const picture = dataUrl("png", await encodePng(pixels));
  image.release?.(pixels);
  return picture;
}

function dataUrl(format: "png" | "jpeg", bytes: Uint8Array): string {
  return `data:image/${format};base64,${Buffer.from(bytes).toString("base64")}`;
}

/** The image with the frames of its sub-tiles. */
function overviewOf(
  { size, subTiles }: { size: Size; subTiles: readonly WeighedRegion[] },
  picture: string,
): Html {
  const heaviest = Math.max(...subTiles.map(({ weight }) => weight));
  // The heaviest last: on top of the others.
  const frames = subTiles.toReversed().map((subTile) => {
    const share = heaviest > 0 ? subTile.weight / heaviest : 1;
    const width = Math.max(1, STROKE * share);
    const [red, green, blue] = heatColour(share);
    const box = (name: string, more: number, stroke: string) =>
      html`
        <rect class="${name}" x="${subTile.x}" y="${subTile.y}" width="${subTile
          .width}"
          height="${subTile
            .height}" stroke="${stroke}" stroke-width="${(width + more).toFixed(
              1,
            )}" />
      `;
    return html`${box("under", 2, "#000")}${
      box("frame", 0, `rgb(${red} ${green} ${blue})`)
    }`;
  });
  return html`
    <svg class="overview" viewBox="0 0 ${size.width} ${size.height}" role="img"
      aria-label="the image with its sub-tiles"><image href="${picture}" width="${size
        .width}" height="${size.height}"/>${frames}</svg>
  `;
}

type WeighedRegion = Region & { weight: number };
