/**
 * Messages between the server and a Worker that reads a table.
 *
 * @module
 */
import type {
  AnnotatedImage,
  AnnotatedObject,
} from "../../data/annotations/object.ts";
import type { Config } from "../../model/config.ts";
import type { FoldChoice } from "../../train/runs/fold_plan.ts";
import type { TableRowsDocument } from "../documents.ts";

/** One image of a table to classify. */
export interface BatchImage {
  /** As written in the table, with what may be secret. */
  image: string;
  /** Micrometres per level-0 px. */
  mpp?: number;
}

/** A manifest, and what it may name. */
export interface AllowedTable {
  /** Path of the manifest. */
  path: string;
  /** Folders whose files the manifest may name. */
  roots: readonly string[];
  /** Hosts whose URLs it may name. */
  hosts: readonly string[];
}

/** A manifest to train on. */
export interface TrainingTable extends AllowedTable {
  /** The configuration to train with. */
  config: Config;
  /** Folds to make of it, if any. */
  choice?: FoldChoice | undefined;
  /** Takes labels that look like slips; else they are faults. */
  labelsAsTheyAre?: boolean | undefined;
}

/** Functions of the Worker. */
export type TableMethods = {
  /** Checks a manifest to train on: its rows, and the files that it names. */
  checkTraining(table: TrainingTable): void;
  /** The first images of a manifest. */
  rowsOf(table: AllowedTable): TableRowsDocument;
  /** The URLs of the first images that are not shown, by their names. */
  urlsOf(table: AllowedTable): Map<string, string>;
  /**
   * The objects that a manifest's own files state of an image; undefined if it
   * has no such image.
   */
  objectsOf(input: AllowedTable & { image: string }):
    | AnnotatedObject[]
    | undefined;
  /** The objects of all images as CSV: those drawn, else the manifest's own. */
  boxesOf(input: AllowedTable & { drawn: readonly AnnotatedImage[] }): string;
  /** Reads a table of images to classify; the result is their number. */
  readBatch(input: { path: string }): number;
  /** Images `from` and the `count - 1` after it of the table that was read. */
  imagesOf(input: { from: number; count: number }): BatchImage[];
};
