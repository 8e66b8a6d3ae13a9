// Whether a dictionary of a column can pay, told by the first values of its chunk. Internal to the room.
#pragma once

namespace arrow {
class Array;
}

namespace partita {

// False: of a sample of so many values next to none is there twice. A dictionary of them would pass any limit
// before it ends, after a hash table of all that came before was filled for nothing. True where that is not
// known. Indices of a dictionary of texts count as their texts. Part of the format of our files: changing it
// changes their bytes.
bool MayRepeat(const arrow::Array& values);

}  // namespace partita
