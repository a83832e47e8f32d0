/* Keys made when a cluster is: CURVE pairs for the mesh, an access key pair for the API. */

#ifndef DEPLOY_KEYS_H
#define DEPLOY_KEYS_H

#include "proto/base/error.h"

#define KEYS_CURVE_TEXT_BYTES 41  /* Z85 and a NUL */
#define KEYS_ACCESS_TEXT_BYTES 21 /* "AKIA" and 16 characters, as AWS makes them */
#define KEYS_SECRET_TEXT_BYTES 41

/* ERR_IO: the system gives no randomness, or libzmq was built without CURVE. */
enum error keys_make_curve(char public_key[KEYS_CURVE_TEXT_BYTES],
                           char secret_key[KEYS_CURVE_TEXT_BYTES]);
enum error keys_make_access(char access_key[KEYS_ACCESS_TEXT_BYTES],
                            char secret[KEYS_SECRET_TEXT_BYTES]);

#endif
