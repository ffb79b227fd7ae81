/**
 * Finds the image of a request or a job.
 *
 * @module
 */
import { InputError } from "../errors.ts";
import { withoutSecrets } from "./guarded_fetch.ts";
import type { NamedImage } from "../predictor.ts";
import type { Caller } from "../auth.ts";
import type { Sources } from "./allowed_sources.ts";
import type { KeptUploads } from "./kept_uploads.ts";
import type { Upload, Uploads } from "./uploads.ts";

/** An image named by a request. */
export interface ImageName {
  uri?: string | undefined;
  path?: string | undefined;
  /** Name in messages, if it differs from the URI or path. */
  name?: string | undefined;
}

/** An image that a caller names, or has uploaded before. */
export interface SeenName extends Omit<ImageName, "name"> {
  /** Id of an upload that is kept. */
  upload?: string | undefined;
}

/** A file or URL to classify; dispose of it when done. */
export interface HeldImage extends NamedImage, AsyncDisposable {
  /** Size of the file; 0 for a URL, of which only parts are fetched. */
  bytes: number;
}

/** Resolves the images of requests. */
export class Images {
  readonly #sources: Sources;
  readonly #uploads: Uploads;
  readonly #kept: KeptUploads;

  constructor(sources: Sources, uploads: Uploads, kept: KeptUploads) {
    this.#sources = sources;
    this.#uploads = uploads;
    this.#kept = kept;
  }

  /**
   * Resolves the image that a caller wants to see.
   *
   * @throws {InputError | ForbiddenError | ImageRefusedError | NotFoundError}
   */
  async seen(
    { upload, ...name }: SeenName,
    caller: Caller,
  ): Promise<HeldImage> {
    if (upload === undefined) return await this.named(name);
    if (name.uri !== undefined || name.path !== undefined) {
      throw new InputError(
        "upload",
        'The request names several images: give one of "uri", "path" and "upload"',
      );
    }
    return { ...staying(this.#kept.get(upload, caller)), alone: true };
  }

  /**
   * Resolves the image that a request names.
   *
   * @throws {InputError | ForbiddenError | ImageRefusedError}
   */
  async named({ uri, path, name }: ImageName): Promise<HeldImage> {
    if ((uri === undefined) === (path === undefined)) {
      throw new InputError(
        "uri",
        'The request names no image: give "uri" or "path"',
      );
    }
    const source = uri === undefined
      ? await this.#sources.found(path!, name)
      : await this.#sources.uri(uri);
    if ("url" in source) {
      const { url } = source;
      return staying({
        path: url,
        name: name ?? withoutSecrets(url),
        bytes: 0,
      });
    }
    const { file, bytes } = source;
    return staying({ path: file, name: name ?? path ?? uri!, bytes });
  }

  /** An uploaded image; disposing removes its file. */
  uploaded(upload: Upload): HeldImage {
    return {
      path: upload.path,
      name: upload.name,
      alone: true,
      bytes: upload.bytes,
      [Symbol.asyncDispose]: () => this.#uploads.remove(upload),
    };
  }
}

/** An image whose file stays. */
function staying(
  image: Pick<HeldImage, "path" | "name" | "bytes">,
): HeldImage {
  return { ...image, alone: false, async [Symbol.asyncDispose]() {} };
}
