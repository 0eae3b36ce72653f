// Says which releases of its dependencies it runs with.
const http = require('node:http')

const release = (name) => require(name + '/package.json').version

http.createServer((request, response) => {
  const names = ['lodash', 'lodash-of-old', 'minimist', 'mkdirp']
  response.end(names.map((name) => `${name} ${release(name)}`).join(', '))
}).listen(process.env.PORT || 8080)
