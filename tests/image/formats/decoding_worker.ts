/** A Worker that decodes a JPEG, and tells when that has begun. */
import { findJpegTurbo } from "../../../lib/image/formats/jpeg_turbo.ts";

/** A JPEG, and its height and width. */
interface Task {
  bytes: Uint8Array<ArrayBuffer>;
  side: number;
}

const scope = self as unknown as {
  onmessage(event: MessageEvent<Task>): void;
  postMessage(text: string): void;
};

scope.onmessage = ({ data: { bytes, side } }) => {
  findJpegTurbo()!.decode(bytes, { width: side, height: side })
    .then(() => scope.postMessage("ended"));
  scope.postMessage("begun");
};
