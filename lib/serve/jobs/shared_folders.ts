/**
 * Folders that several hosts have, each on its own disk: the files of jobs, and
 * models.
 *
 * @module
 */

/** Folders by name, kept where all hosts reach them. */
export interface SharedFolders {
  /**
   * Brings the files of the folder `name` to `path`, as they were last kept;
   * only the `wanted`, by their paths in the folder. Others stay as they are.
   */
  fetch(
    name: string,
    path: string,
    wanted?: (file: string) => boolean,
  ): Promise<void>;
  /**
   * Keeps the files in `path` as the folder `name`; false if a later `attempt`
   * has kept its own.
   */
  keep(name: string, path: string, attempt: number): Promise<boolean>;
  /** Names that begin with `prefix`. */
  list(prefix: string): Promise<string[]>;
  remove(name: string): Promise<void>;
  /** Removes files that no folder has. */
  sweep(): Promise<void>;
}

/** Of a server whose folders are its own. */
export const OWN_FOLDERS: SharedFolders = {
  async fetch() {},
  keep: () => Promise.resolve(true),
  list: () => Promise.resolve([]),
  async remove() {},
  async sweep() {},
};

/** Name of the folder of a job. */
export function jobFolderName(id: string): string {
  return `job.${id}`;
}
