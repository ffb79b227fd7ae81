/**
 * Reads large JSON in a Worker. See json_reader.ts.
 *
 * @module
 */
import { answerCalls } from "../../workers/calls.ts";
import { InputError } from "../errors.ts";
import { type JsonRequest, readJson } from "./json.ts";

/** Functions of the Worker. */
export type JsonMethods = {
  read(json: Uint8Array): JsonRequest | JsonFault;
};

/** An {@linkcode InputError}, whose field would be lost between Workers. */
export interface JsonFault {
  field: string;
  message: string;
}

answerCalls<JsonMethods, never>({
  read(json) {
    try {
      return readJson(json);
    } catch (error) {
      if (!(error instanceof InputError)) throw error;
      return { field: error.field, message: error.message };
    }
  },
});
