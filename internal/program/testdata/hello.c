#include <openssl/crypto.h>
#include <stdio.h>
#include <zlib.h>

int main(void) {
    printf("%s, zlib %s\n", OpenSSL_version(OPENSSL_VERSION), zlibVersion());
    return 0;
}
