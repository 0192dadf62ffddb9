// Runs one Python program on the 32-bit MicroPython VM, with this process's stdin and stdout as the VM's own.
//
//   node wasm_runner.mjs MODULE.mjs STAGE PROGRAM.py HEAPSIZE
//
// STAGE is copied into the VM's own file system at /lib. A program that leaves a function `__turn__` has it called until
// it answers false: the VM gives memory back between such calls only. The exit code is 1 after an uncaught exception, whose
// text goes to stderr; what sys.exit was given otherwise.
import fs from "node:fs";
import path from "node:path";
import { pathToFileURL } from "node:url";

const [modulePath, stage, programPath, heapsize] = process.argv.slice(2);
const { loadMicroPython } = await import(pathToFileURL(modulePath).href);

// Bytes cross one at a time; the system calls are made a buffer at a time.
const input = Buffer.alloc(4096);
let inputAt = 0;
let inputEnd = 0;
const output = Buffer.alloc(4096);
let outputEnd = 0;

function flush() {
    for (let at = 0; at < outputEnd; ) {
        try {
            at += fs.writeSync(1, output, at, outputEnd - at);
        } catch (e) {
            if (e.code !== "EAGAIN") throw e;
        }
    }
    outputEnd = 0;
}

function stdin() {
    if (inputAt === inputEnd) {
        flush();
        inputAt = 0;
        for (;;) {
            try {
                inputEnd = fs.readSync(0, input, 0, input.length, null);
                break;
            } catch (e) {
                if (e.code === "EOF") inputEnd = 0;
                else if (e.code === "EAGAIN") continue;
                else throw e;
                break;
            }
        }
        if (inputEnd === 0) return null;
    }
    return input[inputAt++];
}

function stdout(bytes) {
    for (const byte of bytes) {
        if (outputEnd === output.length) flush();
        output[outputEnd++] = byte;
    }
}

function copy(vm, from, to) {
    vm.FS.mkdirTree(to);
    for (const entry of fs.readdirSync(from, { withFileTypes: true })) {
        const source = path.join(from, entry.name);
        const target = to + "/" + entry.name;
        if (entry.isDirectory()) copy(vm, source, target);
        else vm.FS.writeFile(target, fs.readFileSync(source));
    }
}

let code = 0;
try {
    const vm = await loadMicroPython({
        heapsize: Number(heapsize),
        linebuffer: false,
        stdin,
        stdout,
        stderr: (bytes) => fs.writeSync(2, Buffer.from(bytes)),
    });
    copy(vm, stage, "/lib");
    vm.runPython("import sys\nif '/lib' not in sys.path: sys.path.insert(0, '/lib')\n");
    vm.runPython(fs.readFileSync(programPath, "utf8"));
    const turn = vm.globals.get("__turn__");
    if (turn !== undefined) while (turn());
} catch (e) {
    // The uncaught text would drag a 100 KB line of the VM's own JavaScript along: its message is enough.
    const message = String(e.message ?? e);
    const left = /SystemExit:? ?(-?\d*)/.exec(message);
    if (e.type === "SystemExit" || left) {
        code = left && left[1] !== "" ? Number(left[1]) : 0;
    } else {
        process.stderr.write(message.trimEnd() + "\n");
        code = 1;
    }
}
flush();
process.exit(code);
