// Runs several programs one after the other in one 32-bit VM. This VM collects garbage only between two programs, so
// what is alive can be weighed only from the next one.
//
//   node steps.mjs MODULE.mjs STAGE STEP.py...
//
// STAGE is copied into the VM's file system at /lib. The exit code is 1 after an uncaught exception.
import fs from "node:fs";
import path from "node:path";
import { pathToFileURL } from "node:url";

const [modulePath, stage, ...steps] = process.argv.slice(2);
const { loadMicroPython } = await import(pathToFileURL(modulePath).href);

function copy(vm, from, to) {
    vm.FS.mkdirTree(to);
    for (const entry of fs.readdirSync(from, { withFileTypes: true })) {
        const [source, target] = [path.join(from, entry.name), to + "/" + entry.name];
        if (entry.isDirectory()) copy(vm, source, target);
        else vm.FS.writeFile(target, fs.readFileSync(source));
    }
}

try {
    const vm = await loadMicroPython({ heapsize: 1024 * 1024 });
    copy(vm, stage, "/lib");
    for (const step of ["import sys\nsys.path.insert(0, '/lib')", ...steps.map((s) => fs.readFileSync(s, "utf8"))]) {
        vm.runPython(step);
    }
} catch (e) {
    process.stderr.write(String(e.message ?? e).trimEnd() + "\n");
    process.exitCode = 1;
}
