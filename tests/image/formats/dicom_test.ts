/** DICOM files that are not slides: refused before OpenSlide is needed. */
import assert from "node:assert/strict";
import { ImageError } from "../../../lib/errors.ts";
import { openImage } from "../../../lib/image/open.ts";
import { openSlideVersion } from "../../../lib/image/formats/openslide.ts";
import { sharedData } from "../../shared_data.ts";
import { serveFile } from "../file_server.ts";
import { TemporaryFolder } from "../pictures.ts";

/** An element of file meta information, of a kind with short values. */
function element(number: number, kind: string, value: string): number[] {
  const even = value.length % 2 === 0 ? value : `${value}\0`;
  const bytes = new TextEncoder().encode(even);
  const head = [2, 0, number, 0, ...new TextEncoder().encode(kind)];
  return [...head, bytes.length, 0, ...bytes];
}

// (0002,0001), version: OB, so that its length has 4 bytes.
const VERSION = [2, 0, 1, 0, 0x4f, 0x42, 0, 0, 2, 0, 0, 0, 0, 1];

function dicom(...elements: number[][]): Uint8Array {
  return Uint8Array.from([
    ...new Uint8Array(128),
    ...new TextEncoder().encode("DICM"),
    ...element(0, "UL", "\x94\0\0\0".slice(0, 4)),
    ...VERSION,
    ...elements.flat(),
  ]);
}

function ofClass(uid: string): Uint8Array {
  return dicom(element(2, "UI", uid), element(3, "UI", "1.2.3"));
}

const OTHERS: [string, Uint8Array, RegExp][] = [
  [
    "CT",
    ofClass("1.2.840.10008.5.1.4.1.1.2"),
    /its class is 1\.2\.840\.10008\.5\.1\.4\.1\.1\.2 \(CT Image\); save/,
  ],
  ["an index", ofClass("1.2.840.10008.1.3.10"), /\(DICOMDIR, an index/],
  [
    "one of its maker's",
    ofClass("1.3.46.670589.5"),
    /its class is 1\.3\.46\.670589\.5; save/,
  ],
  ["one that is empty", dicom(), /without a Media Storage SOP Class/],
  [
    "one without a class",
    dicom(element(3, "UI", "1.2.3"), [8, 0, 0x16, 0, 0x55, 0x49, 0, 0]),
    /without a Media Storage SOP Class/,
  ],
];

for (const [name, bytes, reason] of OTHERS) {
  Deno.test(`a DICOM file that is no slide is named: ${name}`, async () => {
    using folder = new TemporaryFolder();
    await using server = await serveFile(bytes);
    for (const path of [folder.write("a.dcm", bytes), server.url]) {
      await assert.rejects(openImage(path), (error: Error) => {
        assert.ok(error instanceof ImageError);
        assert.match(error.message, / as DICOM: it is a DICOM file/);
        assert.match(error.message, reason);
        return !error.message.includes("\n");
      });
    }
  });
}

const version = openSlideVersion();
const slide = ofClass("1.2.840.10008.5.1.4.1.1.77.1.6");

Deno.test("a DICOM slide is asked of OpenSlide, and read from folders only", async () => {
  using folder = new TemporaryFolder();
  await assert.rejects(
    openImage(folder.write("a.dcm", slide)),
    version === undefined
      ? /it is a DICOM slide, which needs OpenSlide: /
      : version.startsWith("3")
      ? /it is a DICOM slide, which needs OpenSlide 4 or later: version 3/
      : /OpenSlide/,
  );
  await using server = await serveFile(slide);
  await assert.rejects(
    openImage(server.url),
    /this format spans several files/,
  );
});

Deno.test({
  name: "a file that may be a slide is not said to be one",
  ignore: version === undefined,
  fn: async () => {
    using folder = new TemporaryFolder();
    const head = new TextEncoder().encode("SQLite format 3\0and so on");
    await assert.rejects(
      openImage(folder.write("jobs.sqlite", head)),
      /OpenSlide [\d.]+ does not read it as a Sakura \(SQLite\) slide$/,
    );
  },
});

for (
  const [parts, reason] of [
    [["corners", "no_slide.dcm"], /\(Secondary Capture Image\)/],
    [["wsi", "boxes_0.dcm"], /needs OpenSlide/],
  ] as const
) {
  const path = sharedData(...parts);
  Deno.test({
    name: `${parts.join("/")} is named`,
    ignore: path === undefined ||
      (parts[0] === "wsi" && version?.startsWith("4")) === true,
    fn: async () => {
      await assert.rejects(openImage(path!), reason);
    },
  });
}
