/**
 * A frozen f: features about places of a picture, with nothing to train. A
 * place is described by the pixels around it, so that the same network serves
 * a drawn sub-tile (one place, its middle) and a dense grid (a block of the
 * image with many places).
 *
 * @module
 */
import type { Point } from "../image/geometry.ts";

/** One output of an encoder, and how it is pooled about a place. */
export interface EncoderOutput {
  /** Name of the output in the file. */
  name: string;
  /** Side of the window about the place, level-0 px; 0: bilinear at the place. */
  window: number;
  /** Mean or maximum over the window, or one after the other. */
  pooling: "mean" | "max" | "both";
}

/** A pretrained network in an ONNX file, which stays as it is. */
export interface EncoderConfig {
  /** The file. */
  path: string;
  /** SHA-256 of the file, in hexadecimal. */
  sha256: string;
  /** Px of the network's input for each level-0 px. */
  scale: number;
  /** Side of the input, px; null: a network over maps of any size. */
  inputSize: number | null;
  /** Subtracted from RGB in [0, 1], by channel. */
  mean: [number, number, number];
  /** Then divided by, by channel. */
  deviation: [number, number, number];
  /** Outputs whose values, one after the other, are the features. */
  outputs: EncoderOutput[];
  /** K: features of a place. */
  channels: number;
}

/** Side of the window that an input of a fixed size shows, level-0 px; else null. */
export function inputWindow(
  { inputSize, scale }: Pick<EncoderConfig, "inputSize" | "scale">,
): number | null {
  return inputSize === null ? null : Math.max(1, Math.round(inputSize / scale));
}

/** RGB in [0, 1] of pictures of one size, level-0 px, row by row. */
export interface Pictures {
  /** `[count, height, width, 3]`. */
  data: Float32Array;
  /** Number of pictures. */
  count: number;
  /** Height of each, px. */
  height: number;
  /** Width of each, px. */
  width: number;
}

/** Features about places; see the module. */
export interface Encoder {
  /** Changes whenever a feature may: the key of caches. */
  readonly key: string;
  /** K: features of a place. */
  readonly channels: number;
  /**
   * Px around a place, level 0, on which its features depend noticeably: the
   * margin of a block of a dense grid.
   */
  readonly margin: number;
  /**
   * Places of a picture that one call should take at most; 1 for a network that
   * sees one window at a time, whose picture is that window.
   */
  readonly placesAtOnce: number;
  /**
   * Blocks that start at multiples of this, level-0 px, are seen in the same
   * cells as the whole image; 1 if omitted.
   */
  readonly step?: number;
  /** Bytes that a level-0 px of a picture takes on its way; 400 if omitted. */
  readonly bytesPerPixel?: number;
  /** Level-0 px of a block, its margin included, at most; 2^18 if omitted. */
  readonly blockPixels?: number;
  /**
   * The features about `places`, px of their picture (the centre of px 0 is
   * 0.5). Outside a picture there is nothing: the caller gives the margin.
   *
   * @param places of each picture, `[count][...]`.
   * @returns `[all places, channels]`, picture after picture.
   * @throws {EncoderError} If a feature is not finite.
   */
  features(
    pictures: Pictures,
    places: readonly (readonly Point[])[],
    signal?: AbortSignal,
  ): Promise<Float32Array>;
  /** Frees what it holds. */
  dispose(): Promise<void> | void;
}
