#include "deploy/keys.h"

#include <sys/random.h>
#include <zmq.h>

enum error keys_make_curve(char public_key[KEYS_CURVE_TEXT_BYTES],
                           char secret_key[KEYS_CURVE_TEXT_BYTES])
{
    return zmq_curve_keypair(public_key, secret_key) == 0 ? OK : ERR_IO;
}

/* `size` characters of a 32 or 64 letter alphabet, so that each byte of randomness counts alike. */
static enum error make_text(char *text, size_t size, const char *alphabet, unsigned mask)
{
    unsigned char random[64];

    if (getrandom(random, size, 0) != (ssize_t)size)
        return ERR_IO;
    for (size_t i = 0; i < size; i++)
        text[i] = alphabet[random[i] & mask];
    text[size] = '\0';
    return OK;
}

enum error keys_make_access(char access_key[KEYS_ACCESS_TEXT_BYTES],
                            char secret[KEYS_SECRET_TEXT_BYTES])
{
    static const char upper[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    static const char any[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+-";
    enum error rc = make_text(access_key + 4, KEYS_ACCESS_TEXT_BYTES - 5, upper, 31);

    for (int i = 0; i < 4; i++)
        access_key[i] = "AKIA"[i];
    return rc == OK ? make_text(secret, KEYS_SECRET_TEXT_BYTES - 1, any, 63) : rc;
}
