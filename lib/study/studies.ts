/**
 * The studies by name.
 *
 * @module
 */
import { colonStudy } from "./colon.ts";
import { gtsdbStudy } from "./gtsdb.ts";
import { needleStudy } from "./needle.ts";
import type { Study, StudyRequest } from "./study.ts";

/** What makes a study, and the preset of its configurations. */
export interface StudyKind {
  make(request: StudyRequest): Study;
  preset: string;
}

/** What makes each study. */
export const STUDIES = {
  colon: { make: colonStudy, preset: "colon" },
  needle: { make: needleStudy, preset: "needle" },
  gtsdb: { make: gtsdbStudy, preset: "traffic-signs" },
} satisfies Record<string, StudyKind>;

/** Name of a study. */
export type StudyName = keyof typeof STUDIES;

/** True for the name of a study. */
export function isStudyName(name: string): name is StudyName {
  return Object.hasOwn(STUDIES, name);
}
