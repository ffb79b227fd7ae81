/**
 * Gets hold of the image that a request or a job means, as a file.
 *
 * @module
 */
import { ImageRefusedError } from "../errors.ts";
import { InputError } from "./errors.ts";
import { withoutSecrets } from "./guarded_fetch.ts";
import type { NamedImage } from "./predictor.ts";
import type { Sources } from "./sources.ts";
import type { Upload, Uploads } from "./uploads.ts";

/** An image as a request names it. */
export interface ImageName {
  uri?: string | undefined;
  path?: string | undefined;
}

/** A file to classify; dispose of it when done. */
export interface HeldImage extends NamedImage, AsyncDisposable {
  bytes: number;
}

/** Finds and fetches images. */
export class Images {
  readonly #sources: Sources;
  readonly #uploads: Uploads;

  constructor(sources: Sources, uploads: Uploads) {
    this.#sources = sources;
    this.#uploads = uploads;
  }

  /**
   * The image that a request names.
   *
   * @throws {InputError | ForbiddenError | TooLargeError}
   */
  async named(
    { uri, path }: ImageName,
    signal: AbortSignal,
  ): Promise<HeldImage> {
    if ((uri === undefined) === (path === undefined)) {
      throw new InputError(
        "uri",
        'Cannot tell the image: give "uri" or "path"',
      );
    }
    const source = uri === undefined
      ? { file: await this.#sources.file(path!) }
      : await this.#sources.uri(uri);
    if ("url" in source) return await this.#fetched(source.url, signal);
    const { size } = await Deno.stat(source.file);
    return {
      path: source.file,
      name: path ?? uri!,
      bytes: size,
      async [Symbol.asyncDispose]() {}, // it stays where it is
    };
  }

  /** An image that was uploaded; it is removed in the end. */
  uploaded(upload: Upload): HeldImage {
    return {
      path: upload.path,
      name: "the upload",
      bytes: upload.bytes,
      [Symbol.asyncDispose]: () => this.#uploads.remove(upload),
    };
  }

  async #fetched(url: URL, signal: AbortSignal): Promise<HeldImage> {
    const name = withoutSecrets(url);
    const response = await this.#get(url, name, signal);
    if (response.status !== 200) {
      await response.body?.cancel();
      throw new InputError(
        "uri",
        `Cannot fetch ${name}: the host answers ${response.status}`,
      );
    }
    const announced = Number(response.headers.get("content-length") ?? NaN);
    const upload = await this.#uploads.receive(response.body, {
      signal,
      ...(Number.isFinite(announced) && { announced }),
    });
    return { ...this.uploaded(upload), name };
  }

  async #get(url: URL, name: string, signal: AbortSignal): Promise<Response> {
    try {
      return await this.#sources.fetch(url, { signal });
    } catch (cause) {
      signal.throwIfAborted();
      if (cause instanceof ImageRefusedError) throw cause;
      throw new InputError(
        "uri",
        `Cannot fetch ${name} as an image: the host does not answer`,
        { cause },
      );
    }
  }
}
