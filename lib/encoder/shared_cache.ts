/**
 * Features that hosts share: what is not in the folder of this one is fetched,
 * and what none has is made, and given to the others.
 *
 * @module
 */
import {
  decoded,
  encoded,
  FeatureCache,
  featureKey,
  type FeatureSource,
} from "./cache.ts";

/** Files of features by their keys, which other hosts reach. */
export interface FeatureStore {
  /** The file of a key, maybe damaged; undefined if there is none. */
  get(key: string): Promise<Uint8Array<ArrayBuffer> | undefined>;
  put(key: string, file: Uint8Array): Promise<void>;
}

/** How features are shared. */
export interface FeatureSharing {
  store: FeatureStore;
  /** What another Worker opens the store by: plain data. */
  place: unknown;
}

/** Where features are kept, as plain data. */
export interface CachePlace {
  folder: string;
  /** Bound of the folder, bytes. */
  maxBytes: number;
  /** The store that other hosts reach; undefined if there is none. */
  shared: unknown;
}

/** A folder of features, and a store that other hosts reach. */
export class SharedFeatureCache extends FeatureCache {
  readonly #sharing: FeatureSharing;

  /**
   * @param folder of this host, with the bound of a {@linkcode FeatureCache}.
   * @param options.remark as that of a {@linkcode FeatureCache}.
   */
  constructor(
    { folder, maxBytes }: Pick<CachePlace, "folder" | "maxBytes">,
    { remark, ...sharing }: FeatureSharing & {
      remark?: ((text: string) => void) | undefined;
    },
  ) {
    super(folder, maxBytes, remark);
    this.#sharing = sharing;
  }

  /** What another Worker opens the store by. */
  get shared(): unknown {
    return this.#sharing.place;
  }

  override async features(
    source: FeatureSource,
    make: () => Promise<Float32Array>,
  ): Promise<Float32Array> {
    const { store } = this.#sharing;
    const key = featureKey(source);
    return await super.features(source, async () => {
      const file = await store.get(key);
      const features = file && decoded(file);
      if (features) return features;
      const made = await make();
      await store.put(key, encoded(made));
      return made;
    });
  }
}

/** What another Worker opens a cache by. */
export function placeOf(cache: FeatureCache): CachePlace {
  const { folder, maxBytes } = cache;
  const shared = cache instanceof SharedFeatureCache ? cache.shared : undefined;
  return { folder, maxBytes, shared };
}
