// Preload for servers that run in Node: whatever they listen on is on 127.0.0.1, and they end with their standard input, so that nothing
// is left of them however the process ends that has started them.
//
//   node --require ./loopback.js SERVER.js

const net = require('node:net');

const listen = net.Server.prototype.listen;
net.Server.prototype.listen = function (first, ...rest) {
  const port = Number(typeof first === 'object' ? first.port : first);
  const callback = rest.find((argument) => typeof argument === 'function');
  return listen.call(this, { port, host: '127.0.0.1' }, callback);
};

process.stdin.on('close', () => process.exit(0));
process.stdin.resume();
