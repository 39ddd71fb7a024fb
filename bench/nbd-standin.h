// SPDX-License-Identifier: Apache-2.0
#ifndef NBD_STANDIN_H
#define NBD_STANDIN_H

#include <stdint.h>

// The directory that stand-in and generator share. In it: nbdN, the files that
// back the devices; sys/nbdN, what /sys/block/nbdN would be; load.sock, where
// the generator listens.
#define STANDIN_ENV "NBD_STANDIN_DIR"
#define STANDIN_SOCKET "load.sock"
#define STANDIN_MAGIC 0x4e424453u
#define STANDIN_MAX_SOCKETS 16

// One SEQPACKET message from NBD_DO_IT, the sockets with it as SCM_RIGHTS. The
// connection then stays: one byte towards the generator asks for a disconnect,
// its end tells the stand-in that NBD_DO_IT is done.
struct standin_handover {
    uint32_t magic;
    uint32_t sockets;
    uint64_t size;
    uint32_t block_size;
    uint32_t flags;
};

#endif
