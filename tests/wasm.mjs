// Run the cells of notebooks in the Python of the browser edition, under node.
//     node tests/wasm.mjs DISTRIBUTION CONTENTS NOTEBOOK...
import { readFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";

const [distribution, contents, ...notebooks] = process.argv.slice(2);
const here = dirname(fileURLToPath(import.meta.url));
const core = resolve(distribution);
const { loadPyodide } = await import(pathToFileURL(join(core, "pyodide.mjs")));
const settings = JSON.parse(readFileSync(join(core, "../../jupyter-lite.json")));
const [kernel] = Object.values(
  settings["jupyter-config-data"].litePluginSettings);
const { env, packages } = kernel.loadPyodideOptions;

const python = await loadPyodide({ indexURL: core + "/", env });
await python.loadPackage([...packages, "micropip"], { messageCallback() {} });
python.FS.mkdir("/drive");
python.mountNodeFS("/drive", resolve(contents));
python.globals.set("NOTEBOOKS", python.toPy(notebooks));
await python.runPythonAsync(readFileSync(join(here, "wasm.py"), "utf8"));
