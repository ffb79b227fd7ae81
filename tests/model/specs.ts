/** The parameters of a published network, with some settings changed. */
import type { Config, NetworkConfig } from "../../lib/model/config.ts";
import { modelSpecs } from "../../lib/model/networks.ts";
import type { ParameterSpec } from "../../lib/model/parameters.ts";
import { preset } from "../../lib/model/presets.ts";

/**
 * The parameters of a network for `classes` classes.
 *
 * @param settings that differ from the published ones.
 */
export function parameterSpecs(
  features: NetworkConfig["features"],
  classes: number,
  settings: Partial<Config["network"]> = {},
): ParameterSpec[] {
  const { network } = preset("needle-paper");
  const names = Array.from({ length: classes }, (_, i) => `class ${i}`);
  return modelSpecs(
    {
      target: "classes",
      network: { ...network, ...settings, features },
      referenceClass: null,
    },
    names,
  );
}
