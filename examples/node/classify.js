// Streams photos to a planespotter server and prints each answer as it comes.
//
//   npm install
//   node classify.js 127.0.0.1:50051 photo.jpg another.jpg
const { readFileSync } = require("node:fs");
const path = require("node:path");
const grpc = require("@grpc/grpc-js");
const protoLoader = require("@grpc/proto-loader");

const AHEAD = 32; // photos that may be under way: the server reads no further than its stream_window either

const contract = protoLoader.loadSync("planespotter/v1/classifier.proto", {
  includeDirs: [path.join(__dirname, "../../protos"), __dirname],
  enums: String,
  oneofs: true, // answer.outcome then names the field that is set
});
const { ClassifierService } = grpc.loadPackageDefinition(contract).planespotter.v1;

function inWords({ level, constructor: maker, family, model }) {
  const sure = { LEVEL_MODEL: [maker, model], LEVEL_FAMILY: [maker, family], LEVEL_CONSTRUCTOR: [maker] }[level];
  if (!sure) return `unknown (perhaps ${maker.name})`;
  return `${sure.map(({ name }) => name).join(" ")} (${Math.round(100 * sure.at(-1).probability)} %)`;
}

async function main(address, photos) {
  const client = new ClassifierService(address, grpc.credentials.createInsecure());
  const stream = client.streamClassify();
  const waiting = new Set(photos);
  const todo = [...waiting];
  const sendNext = () => {
    const photo = todo.shift();
    if (photo === undefined) stream.end();
    else stream.write({ photoId: photo, photo: readFileSync(photo) });
  };
  for (let i = 0; i < AHEAD; i++) sendNext();
  for await (const answer of stream) {
    if (answer.outcome === "goingAway") {
      todo.length = 0; // the server reads no more; it still answers what it has read
      continue;
    }
    console.log(`${answer.photoId}: ${answer.error ? answer.error.message : inWords(answer.classification)}`);
    waiting.delete(answer.photoId);
    sendNext();
  }
  client.close();
  for (const photo of waiting) console.error(`${photo}: no answer, the server went away; send it again`);
  process.exitCode = waiting.size > 0 ? 1 : 0;
}

const [address, ...photos] = process.argv.slice(2);
if (photos.length === 0) {
  console.error("usage: node classify.js HOST:PORT photo.jpg another.jpg");
  process.exit(2);
}
main(address, photos).catch((error) => {
  console.error(error.message);
  process.exit(1);
});
