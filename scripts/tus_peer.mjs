// The reference tus server with its file store, for benchmarks: node tus_peer.mjs FOLDER PORT
import { createRequire } from "node:module";

const [folder, port] = process.argv.slice(2);
const require = createRequire(`${folder}/node_modules/`);
const { Server } = require("@tus/server");
const { FileStore } = require("@tus/file-store");

const server = new Server({
  path: "/files",
  datastore: new FileStore({ directory: `${folder}/files` }),
});
server.listen({ host: "127.0.0.1", port: Number(port) });
