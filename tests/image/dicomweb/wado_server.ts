/**
 * A DICOMweb server for the slide of fixtures/dicom, which answers what the
 * standard says and nothing else (DICOM PS3.18, section 10.4).
 *
 * @module
 */
import { createServer, type IncomingMessage } from "node:http";
import type { AddressInfo } from "node:net";
import { fileURLToPath } from "node:url";
import type { Answer } from "../file_server.ts";

export const STUDY = "1.2.826.0.1.3680043.8.498.1.1";
export const SERIES = "1.2.826.0.1.3680043.8.498.1.2";
export const INSTANCE = "1.2.826.0.1.3680043.8.498.1.3";

/** Path of the fixture of this name. */
export function fixture(name: string): string {
  return fileURLToPath(
    new URL(`../../../fixtures/dicom/${name}`, import.meta.url),
  );
}

/** An instance as JSON. */
export type Instance = Record<string, { vr: string; Value?: unknown[] }>;

/** Requests that a server received. */
export interface WadoServer extends AsyncDisposable {
  /** URL of the series. */
  url: string;
  /** Path below the series of each request. */
  requests: string[];
  readonly bytes: number;
}

/** Frames of a file whose pixels end it. */
function framesOf(file: Uint8Array, frameBytes: number): Uint8Array[] {
  const view = new DataView(file.buffer);
  let at = 0;
  while (view.getUint32(at, true) !== 0x0010_7fe0) at += 2; // (7FE0,0010)
  const length = view.getUint32(at + 8, true);
  at += 12;
  const frames: Uint8Array[] = [];
  if (length !== 0xffff_ffff) {
    for (; at + frameBytes <= file.length; at += frameBytes) {
      frames.push(file.subarray(at, at + frameBytes));
    }
    return frames;
  }
  while (view.getUint16(at + 2, true) === 0xe000) { // items, the first a table
    const length = view.getUint32(at + 4, true);
    frames.push(file.subarray(at + 8, at + 8 + length));
    at += 8 + length;
  }
  return frames.slice(1);
}

/** Serves the slide on a free port until disposed of. */
export async function serveSlide({
  change = (series) => series,
  frame = (bytes) => bytes,
  intercept = () => undefined,
  plain = false,
}: {
  /** Changes the metadata; a text is sent as it is. */
  change?: (series: Instance[]) => unknown;
  /** Changes the bytes of a frame. */
  frame?: (bytes: Uint8Array) => Uint8Array;
  intercept?: (request: IncomingMessage) => Answer | undefined;
  /** Sends a frame alone, not as a part. */
  plain?: boolean;
} = {}): Promise<WadoServer> {
  const series = JSON.parse(await Deno.readTextFile(fixture("metadata.json")));
  const files = new Map<string, Uint8Array[]>();
  for (const level of [0, 1, 2]) {
    const file = await Deno.readFile(fixture(`level${level}.dcm`));
    files.set(`${INSTANCE}.${level}`, framesOf(file, 32 * 32 * 3));
  }
  const root = `/dicom-web/studies/${STUDY}/series/${SERIES}`;
  const requests: string[] = [];
  let sent = 0;
  const server = createServer((request, response) => {
    const path = request.url!.startsWith(`${root}/`)
      ? request.url!.slice(root.length + 1)
      : request.url!;
    requests.push(path);
    const other = intercept(request);
    const { accept } = request.headers;
    const send = (type: string, body: string | Uint8Array) => {
      const bytes = typeof body === "string"
        ? new TextEncoder().encode(body)
        : body;
      sent += bytes.length;
      response.writeHead(200, { "content-type": type }).end(bytes);
    };
    const [, instance = "", number] =
      /^instances\/([\d.]+)\/frames\/(\d+)$/.exec(path) ?? [];
    const bytes = files.get(instance)?.[Number(number) - 1];
    if (other) {
      response.writeHead(other.status, other.headers).end("no");
    } else if (path === "metadata" && accept === "application/dicom+json") {
      const changed = change(structuredClone(series));
      send(
        accept,
        typeof changed === "string" ? changed : JSON.stringify(changed),
      );
    } else if (bytes === undefined) {
      response.writeHead(404).end("none");
    } else if (
      accept !==
        'multipart/related; type="application/octet-stream"; transfer-syntax=*'
    ) {
      response.writeHead(406).end("not acceptable");
    } else if (plain) {
      send("image/jpeg", frame(bytes));
    } else {
      const head =
        "\r\n--a b\r\nContent-Type: image/jpeg; transfer-syntax=1.2.840.10008.1.2.4.50\r\n\r\n";
      send(
        'multipart/related; type="image/jpeg"; boundary="a b"',
        Uint8Array.from([
          ...new TextEncoder().encode(head),
          ...frame(bytes),
          ...new TextEncoder().encode("\r\n--a b--"),
        ]),
      );
    }
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}${root}`,
    requests,
    get bytes() {
      return sent;
    },
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
