/**
 * Slides of DICOMweb servers (WADO-RS, DICOM PS3.18, section 10.4), read frame
 * by frame. By hand, because dicomweb-client needs XMLHttpRequest, which Deno
 * has not, and neither retries nor bounds what it reads.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { ImageError, isOfContent, NetworkError } from "../../errors.ts";
import { LIMITS } from "../bytes/http_client.ts";
import type { OpenSource } from "../bytes/source.ts";
import { WebRequests } from "../bytes/web_requests.ts";
import { plausibleMpp } from "../mpp.ts";
import type { Pixels, Pyramid } from "../pyramid.ts";
import {
  BlockPyramid,
  type BlockPyramidOptions,
} from "../pyramids/block_pyramid.ts";
import { decodePicture } from "../tiff/decode/pictures.ts";
import { JFIF_RULES } from "../tiff/decode/ycbcr.ts";
import { defaultCache, type OpenOptions } from "../whole.ts";
import { type DicomLevel, readLevels } from "./metadata.ts";
import { firstPart } from "./multipart.ts";

// Bytes of the metadata of a series: a sparse slide lists its frames.
const METADATA_BYTES = 2 ** 26;

// Around a frame, in an answer.
const SLACK_BYTES = 2 ** 16;

/** The address is that of a series of a DICOMweb server. */
export function isDicomWeb(address: string): Promise<boolean> {
  return Promise.resolve(
    /^https?:\/\/[^?#]+\/studies\/[\d.]+\/series\/[\d.]+\/?$/i.test(address),
  );
}

/**
 * Opens the slide of a series.
 *
 * @throws {ImageError} With the reason only.
 */
export async function openDicomWeb(
  address: string,
  { fetch: fetchUrl = fetch, signal, cache = defaultCache(), backdrop }:
    OpenOptions,
): Promise<Pyramid> {
  const series = address.replace(/\/$/, "");
  const requests = new WebRequests(fetchUrl, LIMITS);
  const answer = await requests.get(`${series}/metadata`, {
    headers: { accept: "application/dicom+json" },
    maxBytes: METADATA_BYTES,
    signal,
  });
  if (answer === undefined) {
    throw new ImageError("the server answered 404: it has no such series");
  }
  const levels = readLevels(parsed(answer.bytes));
  const warnings: string[] = [];
  const { size, magnification } = levels[0]!;
  const mpp = plausibleMpp("DICOM metadata", size, warnings);
  const hash = createHash("sha256").update(answer.bytes).digest("hex");
  const closed = new AbortController();
  return new DicomWebPyramid({
    name: address,
    identity: `${address}|${hash}`,
    traffic: requests.traffic,
    warnings: [],
    close: () => closed.abort(new TypeError(`${address} was closed`)),
  }, {
    levels,
    facts: { mpp, magnification },
    warnings,
    cache,
    series,
    requests,
    behind: backdrop === "black" ? 0 : 255,
  });
}

function parsed(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder().decode(bytes));
  } catch (cause) {
    throw new NetworkError(
      "the server answered with metadata that is not JSON",
      {
        cause,
      },
    );
  }
}

interface DicomWebOptions extends BlockPyramidOptions {
  levels: readonly DicomLevel[];
  series: string;
  requests: WebRequests;
  /** Grey of what was not scanned. */
  behind: number;
}

class DicomWebPyramid extends BlockPyramid<OpenSource> {
  readonly #options: DicomWebOptions;

  constructor(source: OpenSource, options: DicomWebOptions) {
    super(source, options);
    this.#options = options;
  }

  protected override async decodeBlock(
    level: number,
    block: number,
    signal: AbortSignal,
  ): Promise<Pixels> {
    const stored = this.#options.levels[level]!;
    const { width, height } = stored.block;
    const frame = stored.frameOf ? stored.frameOf.get(block) : block;
    const data = new Uint8Array(width * height * 4).fill(255);
    if (frame === undefined) {
      const { behind } = this.#options;
      if (behind !== 255) blacken(data);
      return { data, width, height };
    }
    const samples = await this.#frame(stored, frame, signal);
    for (let from = 0, to = 0; to < data.length; from += 3, to += 4) {
      data[to] = samples[from]!;
      data[to + 1] = samples[from + 1]!;
      data[to + 2] = samples[from + 2]!;
    }
    return { data, width, height };
  }

  /** RGB of a frame. */
  async #frame(
    level: DicomLevel,
    frame: number,
    signal: AbortSignal,
  ): Promise<Uint8Array> {
    const part = level.parts.find(({ first, frames }) =>
      frame >= first && frame < first + frames
    );
    if (part === undefined) {
      throw new ImageError(`it is damaged: it has no frame ${frame + 1}`);
    }
    const { series, requests } = this.#options;
    const { block: { width, height } } = level;
    const place = `instances/${part.instance}/frames/${frame - part.first + 1}`;
    const answer = await requests.get(`${series}/${place}`, {
      // As stored, in whatever compression.
      headers: {
        accept:
          'multipart/related; type="application/octet-stream"; transfer-syntax=*',
      },
      maxBytes: width * height * 3 + SLACK_BYTES,
      signal,
    });
    if (answer === undefined) {
      throw new ImageError(`the server has no frame ${frame + 1} of it (404)`);
    }
    const { headers, bytes } = answer;
    const picture = firstPart(headers.get("content-type"), bytes);
    try {
      return await samplesOf(picture, level);
    } catch (cause) {
      if (!isOfContent(cause)) throw cause;
      throw new ImageError(`it is damaged or truncated (${cause.message})`, {
        cause,
      });
    }
  }
}

function blacken(data: Uint8Array): void {
  for (let i = 0; i < data.length; i += 4) data.fill(0, i, i + 3);
}

/** RGB of a frame as stored. */
async function samplesOf(
  bytes: Uint8Array,
  { block, photometric }: DicomLevel,
): Promise<Uint8Array> {
  const compression = bytes[0] === 0xff && bytes[1] === 0xd8
    ? "jpeg"
    : bytes[0] === 0xff && bytes[1] === 0x4f // a codestream
    ? "jpeg2000"
    : undefined;
  if (compression === undefined) {
    const length = block.width * block.height * 3;
    if (
      photometric === "RGB" &&
      (bytes.length === length || bytes.length === length + 1)
    ) return bytes; // padded
    throw new ImageError(
      `a frame is neither JPEG nor JPEG 2000, nor ${length} bytes of RGB`,
    );
  }
  const { data } = await decodePicture(
    {
      compression,
      planar: false,
      samples: 3,
      jpegTables: undefined,
      // JPEG 2000 says by itself what its colours are.
      colours: photometric === "RGB"
        ? { kind: "rgb", assumed: false }
        : { kind: "ycbcr", rules: JFIF_RULES },
    },
    bytes,
    { size: block, inside: block },
  );
  return data;
}
