/**
 * Gets hold of the image that a request or a job means.
 *
 * @module
 */
import { InputError } from "../errors.ts";
import { withoutSecrets } from "./guarded_fetch.ts";
import type { NamedImage } from "../predictor.ts";
import type { Sources } from "./allowed_sources.ts";
import type { Upload, Uploads } from "./uploads.ts";

/** An image as a request names it. */
export interface ImageName {
  uri?: string | undefined;
  path?: string | undefined;
  /** What messages call it, where that is not how it was found. */
  name?: string | undefined;
}

/** A file or URL to classify; dispose of it when done. */
export interface HeldImage extends NamedImage, AsyncDisposable {
  /** Of the file; 0 where only what is looked at is fetched. */
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
   * @throws {InputError | ForbiddenError | ImageRefusedError}
   */
  async named({ uri, path, name }: ImageName): Promise<HeldImage> {
    if ((uri === undefined) === (path === undefined)) {
      throw new InputError(
        "uri",
        'Cannot tell the image: give "uri" or "path"',
      );
    }
    const source = uri === undefined
      ? { file: await this.#sources.file(path!, name) }
      : await this.#sources.uri(uri);
    if ("url" in source) {
      const { url } = source;
      return staying({
        path: url,
        name: name ?? withoutSecrets(url),
        bytes: 0,
      });
    }
    const { size } = await Deno.stat(source.file);
    return staying({
      path: source.file,
      name: name ?? path ?? uri!,
      bytes: size,
    });
  }

  /** An image that was uploaded; it is removed in the end. */
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

/** An image that is not ours to remove. */
function staying(
  image: Pick<HeldImage, "path" | "name" | "bytes">,
): HeldImage {
  return { ...image, alone: false, async [Symbol.asyncDispose]() {} };
}
