/**
 * Messages between the server and a Worker that reads a table.
 *
 * @module
 */
import type { Config } from "../../model/config.ts";

/** One image of a table to classify. */
export interface BatchImage {
  /** As written in the table. */
  image: string;
  /** Micrometres per level-0 px. */
  mpp?: number;
}

/** A manifest to train on. */
export interface TrainingTable {
  /** Path of the manifest. */
  path: string;
  /** The configuration to train with. */
  config: Config;
  /** Folders whose files the manifest may name. */
  roots: readonly string[];
  /** Hosts whose URLs it may name. */
  hosts: readonly string[];
}

/** Functions of the Worker. */
export type TableMethods = {
  /** Checks a manifest to train on: its rows, and the files that it names. */
  checkTraining(table: TrainingTable): void;
  /** Reads a table of images to classify; the result is their number. */
  readBatch(input: { path: string }): number;
  /** Images `from` and the `count - 1` after it of the table that was read. */
  imagesOf(input: { from: number; count: number }): BatchImage[];
};
