/**
 * Values between hosts over core NATS, as structured clones: what is larger than
 * a message goes in parts. NATS keeps the order of a sender, and forgets what
 * nobody hears: who waits for an answer must not wait for ever.
 *
 * @module
 */
import { deserialize, serialize } from "node:v8";

// A part is [number of the message, its place, parts in all] and bytes.
const HEADER_BYTES = 12;
const MAX_PART_BYTES = 512 * 1024;
const SPARED_BYTES = 4096; // of the largest message: its subject
/** Largest value, bytes: one that says it is larger is none. */
const MAX_BYTES = 2 ** 31;

/** A connection of NATS' client (`NatsConnection`), as far as it is used. */
export interface HostsConnection {
  /** What the server says of itself: bytes that a message may have. */
  info?: { max_payload?: number | undefined } | undefined;
  /** Sends a message. */
  publish(subject: string, data: Uint8Array | string): void;
  /** Hears messages. */
  subscribe(
    subject: string,
    options: { callback: (error: Error | null, message: HostsMessage) => void },
  ): HostsSubscription;
  /** Tells that the server goes away and comes back. */
  status(): AsyncIterable<{ type: string }>;
  /** True once it is closed. */
  isClosed(): boolean;
  /** Awaits its end. */
  closed(): Promise<void | Error>;
}

/** A message of a {@linkcode HostsConnection}. */
export interface HostsMessage {
  /** Subject that it was sent to. */
  subject: string;
  /** Its bytes. */
  data: Uint8Array;
}

/** Something that is heard. */
export interface HostsSubscription {
  /** Hears it no more. */
  unsubscribe(): void;
}

/** What is sent and received over one connection. */
export class Mail {
  readonly #connection: HostsConnection;
  #isAway = false;
  #number = 0;

  /** @param onAway called when NATS goes away: what is sent meanwhile is lost. */
  constructor(connection: HostsConnection, onAway: () => void = () => {}) {
    this.#connection = connection;
    this.#follow(onAway);
  }

  async #follow(onAway: () => void): Promise<void> {
    for await (const { type } of this.#connection.status()) {
      if (type === "disconnect") {
        this.#isAway = true;
        onAway();
      } else if (type === "reconnect") this.#isAway = false;
    }
  }

  /** Sends `value` to who hears `subject`, unless NATS is away. */
  send(subject: string, value: unknown): void {
    // The client would keep all of it until NATS is back.
    if (this.#isAway || this.#connection.isClosed()) return;
    const bytes = serialize(value);
    const size = this.#partBytes;
    const parts = Math.max(1, Math.ceil(bytes.length / size));
    this.#number = (this.#number + 1) >>> 0;
    for (let place = 0; place < parts; place++) {
      const part = bytes.subarray(place * size, (place + 1) * size);
      const message = new Uint8Array(HEADER_BYTES + part.length);
      const header = new DataView(message.buffer);
      [this.#number, place, parts].forEach((word, i) =>
        header.setUint32(4 * i, word)
      );
      message.set(part, HEADER_BYTES);
      this.#connection.publish(subject, message);
    }
  }

  /** Sends a short value as JSON, which other versions can read. */
  announce(subject: string, value: unknown): void {
    if (this.#isAway || this.#connection.isClosed()) return;
    this.#connection.publish(subject, JSON.stringify(value));
  }

  /** Hears what is announced. */
  hearAnnounced<Value>(
    subject: string,
    onValue: (value: Value) => void,
  ): HostsSubscription {
    return this.#connection.subscribe(subject, {
      callback: (error, message) => {
        if (error) return; // the connection tells of it
        const value = valueOf<Value>(() =>
          JSON.parse(new TextDecoder().decode(message.data))
        );
        if (value) onValue(value);
      },
    });
  }

  /** Hears `subject`; one that ends in `*` has senders on subjects of their own. */
  hear(
    subject: string,
    onValue: (value: unknown, subject: string) => void,
  ): HostsSubscription {
    const whole = new Map<string, Parts>();
    return this.#connection.subscribe(subject, {
      callback: (error, { subject, data }) => {
        if (error) return; // the connection tells of it
        const parts = whole.get(subject) ?? new Parts();
        whole.set(subject, parts);
        const bytes = parts.add(data);
        const value = bytes && valueOf(() => deserialize(bytes));
        if (value !== undefined) onValue(value, subject);
      },
    });
  }

  get #partBytes(): number {
    const { max_payload: most = MAX_PART_BYTES } = this.#connection.info ?? {};
    return Math.min(MAX_PART_BYTES, most - SPARED_BYTES);
  }
}

/** The parts of a message as they come in; those of one that lacks some are dropped. */
class Parts {
  #number = -1;
  #parts: Uint8Array[] = [];

  /** The whole message, with its last part. */
  add(data: Uint8Array): Uint8Array | undefined {
    if (data.length < HEADER_BYTES) return undefined;
    const header = new DataView(data.buffer, data.byteOffset);
    const [number, place, count] = [0, 4, 8].map((at) => header.getUint32(at));
    if (number !== this.#number) {
      this.#number = number!;
      this.#parts = [];
    }
    const isNext = place === this.#parts.length &&
      count! * data.length <= MAX_BYTES + data.length;
    if (!isNext) return undefined;
    this.#parts.push(data.subarray(HEADER_BYTES));
    if (this.#parts.length < count!) return undefined;
    const parts = this.#parts;
    this.#parts = [];
    return joined(parts);
  }
}

function joined(parts: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(
    parts.reduce((sum, { length }) => sum + length, 0),
  );
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

/** A stranger may write to the same subjects: what is no value is nothing. */
function valueOf<Value>(read: () => Value): Value | undefined {
  try {
    return read();
  } catch {
    return undefined;
  }
}
